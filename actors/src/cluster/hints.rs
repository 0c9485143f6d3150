//! Hints over Redis: that there is something to read, and that somebody has read it. Never what.
//!
//! A stream for events, read by every node with a cursor of its own, and one a node for acknowledgements of its changes. Losing an entry,
//! a stream or Redis itself costs the time until the next poll and nothing else.

use deadpool_redis::redis::{
    AsyncCommands as _, RedisError, Value, from_redis_value,
    streams::{StreamMaxlen, StreamRangeReply, StreamReadReply},
};

use super::redis::{HintError, RedisLink};

/// Entries that a stream keeps, about.
const KEPT: usize = 1_024;
/// Before the first entry of a stream.
const BEGINNING: &str = "0-0";
/// Longest wait for entries in one read; below the client's limit for an answer.
const BLOCK_MS: usize = 400;
/// Entries that are read at once.
const READ_MAX: usize = 256;
/// A stream of acknowledgements that nobody reads any more goes by itself.
const FORGOTTEN_SECS: i64 = 300;

/// An entry as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// A node has made changes up to an epoch.
    Changed {
        /// The start of the node.
        by: String,
        /// How far.
        epoch: u64,
    },
    /// A node has revoked tokens.
    Revoked {
        /// The start of the node.
        by: String,
    },
    /// A node uses our changes up to an epoch.
    Acknowledged {
        /// The start of the node.
        by: String,
        /// How far.
        epoch: u64,
        /// Shows that it was that node.
        mac: Vec<u8>,
    },
    /// Something else, which somebody else wrote.
    Unreadable,
}

/// What there is to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Feed {
    /// Changes of the ring.
    Ring,
    /// Revoked tokens.
    Revocations,
}

/// Value of the field `feed`; the ring's entries have none.
const REVOCATIONS: &str = "revocations";

/// The streams of a deployment.
#[derive(Clone)]
pub(crate) struct Hints {
    link: RedisLink,
    events: String,
    prefix: String,
}

/// Places in the streams from which to read on. `$` would do for the first read only: between two reads entries would be missed.
pub(super) struct Cursors {
    /// `None` = from now on: what was before is found by the poll that follows.
    events: Option<String>,
    acknowledgements: String,
}

impl Default for Cursors {
    fn default() -> Self {
        Self { events: None, acknowledgements: BEGINNING.to_owned() }
    }
}

impl Hints {
    /// The streams of a deployment, over this way.
    pub(crate) fn new(link: RedisLink, deployment: uuid::Uuid) -> Self {
        let prefix = format!("claviger:{deployment}");
        Self { link, events: format!("{prefix}:events"), prefix }
    }

    fn acknowledgements(&self, boot_id: &str) -> String {
        format!("{}:acks:{boot_id}", self.prefix)
    }

    /// Tells all nodes of a change.
    pub(super) async fn publish(&self, by: &str, epoch: u64, feed: Feed) -> Result<(), HintError> {
        let mut fields = vec![("boot", by.to_owned()), ("epoch", epoch.to_string())];
        if feed == Feed::Revocations {
            fields.push(("feed", REVOCATIONS.to_owned()));
        }
        let mut connection = self.link.connection().await?;
        let _: Option<String> =
            connection.xadd_maxlen(&self.events, StreamMaxlen::Approx(KEPT), "*", &fields).await?;
        Ok(())
    }

    /// Tells the node that made a change that another one uses it.
    pub(super) async fn acknowledge(
        &self,
        to: &str,
        by: &str,
        epoch: u64,
        mac: &[u8],
    ) -> Result<(), HintError> {
        let stream = self.acknowledgements(to);
        let epoch = epoch.to_string();
        let fields: [(&str, &[u8]); 3] = [("boot", by.as_bytes()), ("epoch", epoch.as_bytes()), ("mac", mac)];
        let mut connection = self.link.connection().await?;
        let _: Option<String> =
            connection.xadd_maxlen(&stream, StreamMaxlen::Approx(KEPT), "*", &fields).await?;
        let _: i64 = connection.expire(&stream, FORGOTTEN_SECS).await?;
        Ok(())
    }

    /// The newest entry there is.
    async fn last_event(&self) -> Result<String, HintError> {
        let mut connection = self.link.connection().await?;
        let last: StreamRangeReply = connection.xrevrange_count(&self.events, "+", "-", 1).await?;
        Ok(last.ids.into_iter().next().map_or_else(|| BEGINNING.to_owned(), |entry| entry.id))
    }

    /// Waits for entries, a bounded time; moves the cursors past what was read.
    pub(super) async fn read(&self, boot_id: &str, cursors: &mut Cursors) -> Result<Vec<Entry>, HintError> {
        let acknowledgements = self.acknowledgements(boot_id);
        let events = match cursors.events.take() {
            Some(events) => events,
            None => self.last_event().await?,
        };
        let events = cursors.events.insert(events);
        let mut command = deadpool_redis::redis::cmd("XREAD");
        command.arg("COUNT").arg(READ_MAX).arg("BLOCK").arg(BLOCK_MS).arg("STREAMS");
        command.arg(&self.events).arg(&acknowledgements);
        command.arg(&*events).arg(&cursors.acknowledgements);
        let mut connection = self.link.connection().await?;
        let reply: Value = command.query_async(&mut *connection).await?;
        if reply == Value::Nil {
            return Ok(Vec::new());
        }
        let reply: StreamReadReply = from_redis_value(reply).map_err(RedisError::from)?;
        let mut entries = Vec::new();
        for stream in reply.keys {
            let is_event = stream.key == self.events;
            for entry in stream.ids {
                let text = |name: &str| entry.get::<String>(name);
                let epoch = entry.get::<u64>("epoch");
                let is_of_tokens = is_event && text("feed").as_deref() == Some(REVOCATIONS);
                entries.push(match (text("boot"), epoch) {
                    (Some(by), Some(_)) if is_of_tokens => Entry::Revoked { by },
                    (Some(by), Some(epoch)) if is_event => Entry::Changed { by, epoch },
                    (Some(by), Some(epoch)) => {
                        let mac = entry.get::<Vec<u8>>("mac").unwrap_or_default();
                        Entry::Acknowledged { by, epoch, mac }
                    }
                    (None, _) | (_, None) => Entry::Unreadable,
                });
                let cursor = if is_event { &mut *events } else { &mut cursors.acknowledgements };
                *cursor = entry.id;
            }
        }
        Ok(entries)
    }
}
