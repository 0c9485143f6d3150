//! Presence in Redis: a hash a node, which goes by itself when its node does.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use actix::prelude::*;
use deadpool_redis::redis::{AsyncCommands as _, RedisError, aio::MultiplexedConnection, cmd, pipe};
use uuid::Uuid;

use super::{Presence, locked};
use crate::{
    clock::{Clock as _, ClusterClock, uptime},
    cluster::{HintError, RedisLink},
    events::hub::Shared,
};

/// What a node wrote is forgotten after this without a sign of it.
const FORGOTTEN: Duration = Duration::from_secs(15);
/// How often a node gives one.
const SIGN: Duration = Duration::from_secs(5);
/// Pause in which several changes become one.
const TOGETHER: Duration = Duration::from_millis(100);
/// How often the others are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// Entries that are written at once.
const CHUNK: usize = 500;
/// Nodes that are looked at.
const NODES_MAX: isize = 64;
/// Longest entry, with what Redis needs for it.
const ENTRY_BYTES: usize = 1_024;
/// Nodes that were seen last so long ago are no longer listed.
const LISTED_MS: i64 = 3_600_000;
/// The field that tells whether anything has changed.
const REVISION: &str = "revision";

/// The way to what nodes write of their sessions.
#[derive(Clone)]
pub(in crate::events) struct Sharing {
    link: RedisLink,
    /// Which nodes there are.
    index: String,
    boot_id: String,
}

/// Who writes and who reads.
struct Link {
    sharing: Sharing,
    shared: Arc<Shared>,
    clock: Arc<ClusterClock>,
}

impl Actor for Link {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let (sharing, shared) = (self.sharing.clone(), Arc::clone(&self.shared));
        context
            .spawn(sharing.clone().write_all(Arc::clone(&shared), Arc::clone(&self.clock)).into_actor(self));
        context.spawn(sharing.read_all(shared, Arc::clone(&self.clock)).into_actor(self));
    }
}

impl Sharing {
    pub(in crate::events) fn new(link: RedisLink, deployment: Uuid, boot_id: &str) -> Self {
        Self { link, index: format!("claviger:{deployment}:presence"), boot_id: boot_id.to_owned() }
    }

    /// Starts to write and to read.
    pub(in crate::events) fn keep(self, shared: Arc<Shared>, clock: Arc<ClusterClock>) {
        Link::start_in_arbiter(&Arbiter::new().handle(), |_| Link { sharing: self, shared, clock });
    }

    fn of(&self, boot_id: &str) -> String {
        format!("{}:{boot_id}", self.index)
    }

    async fn write_all(self, shared: Arc<Shared>, clock: Arc<ClusterClock>) {
        let (mut revision, mut is_whole, mut signed) = (0_u64, false, None::<Duration>);
        loop {
            let _quiet = tokio::time::timeout(SIGN, shared.registry.news.notified()).await;
            tokio::time::sleep(TOGETHER).await;
            let changed = std::mem::take(&mut *locked(&shared.registry.changed));
            let is_due = signed.is_none_or(|signed| uptime().saturating_sub(signed) >= SIGN);
            if changed.is_empty() && !is_due {
                continue;
            }
            revision += u64::from(!changed.is_empty() || !is_whole);
            let written = self.write(&shared, &changed, (is_whole, revision), clock.now().timestamp_millis());
            match written.await {
                Ok(()) => (is_whole, signed) = (true, Some(uptime())),
                Err(error) => {
                    tracing::debug!(%error, "sessions are not known to the other nodes");
                    is_whole = false;
                }
            }
        }
    }

    async fn write(
        &self,
        shared: &Shared,
        changed: &BTreeSet<Uuid>,
        (is_whole, revision): (bool, u64),
        now: i64,
    ) -> Result<(), HintError> {
        let key = self.of(&self.boot_id);
        let kept = i64::try_from(FORGOTTEN.as_secs()).unwrap_or(i64::MAX);
        let mut connection = self.link.connection().await?;
        // What is no hash is replaced by one.
        let known: usize = connection.hlen(&key).await.unwrap_or(0);
        let own: BTreeSet<Uuid> = locked(&shared.registry.own).keys().copied().collect();
        // It may have forgotten, or somebody may have written more.
        let was = own.len() + changed.len() + 1;
        let is_plausible = known > 0 && known <= was && known + changed.len() > own.len();
        let changed: Vec<Uuid> = if is_whole && is_plausible {
            changed.iter().copied().collect()
        } else {
            let _gone: i64 = connection.del(&key).await?;
            own.into_iter().collect()
        };
        for chunk in changed.chunks(CHUNK) {
            let (mut set, mut gone) = (Vec::new(), Vec::new());
            {
                let own = locked(&shared.registry.own);
                for id in chunk {
                    match own.get(id).and_then(|presence| serde_json::to_string(presence).ok()) {
                        Some(text) => set.push((id.to_string(), text)),
                        None => gone.push(id.to_string()),
                    }
                }
            }
            // Each with its end, so that nothing of a node that dies in between stays.
            let mut together = pipe();
            together.atomic();
            if !set.is_empty() {
                together.hset_multiple(&key, &set).ignore();
            }
            if !gone.is_empty() {
                together.hdel(&key, &gone).ignore();
            }
            let () = together.expire(&key, kept).ignore().query_async(&mut *connection).await?;
        }
        let mut together = pipe();
        together.atomic().hset(&key, REVISION, revision.to_string()).ignore();
        together.expire(&key, kept).ignore();
        together.zadd(&self.index, &self.boot_id, now).ignore();
        together.zrembyscore(&self.index, "-inf", now - LISTED_MS).ignore();
        together.zrembyscore(&self.index, now + LISTED_MS, "+inf").ignore();
        let () = together.expire(&self.index, kept * 4).ignore().query_async(&mut *connection).await?;
        Ok(())
    }

    async fn read_all(self, shared: Arc<Shared>, clock: Arc<ClusterClock>) {
        let mut read = uptime();
        loop {
            tokio::time::sleep(LOOK).await;
            match self.read(&shared, clock.now().timestamp_millis()).await {
                Ok(()) => read = uptime(),
                Err(error) => {
                    tracing::debug!(%error, "sessions of other nodes are not known");
                    if uptime().saturating_sub(read) > FORGOTTEN {
                        let known: Vec<String> = locked(&shared.registry.others).keys().cloned().collect();
                        forget(&shared, known.iter().map(String::as_str));
                    }
                }
            }
        }
    }

    async fn read(&self, shared: &Shared, now: i64) -> Result<(), HintError> {
        let mut connection = self.link.connection().await?;
        // None from the future, which would never go and keep out those that are there.
        let (latest, oldest) = (now + LISTED_MS, now - LISTED_MS);
        let nodes: Vec<String> =
            connection.zrevrangebyscore_limit(&self.index, latest, oldest, 0, NODES_MAX).await?;
        let known: Vec<String> = locked(&shared.registry.others).keys().cloned().collect();
        forget(shared, known.iter().filter(|node| !nodes.contains(node)).map(String::as_str));
        // Names as nodes have them, so that none leads to what is no hash of ours.
        let is_node = |node: &&String| Uuid::try_parse(node).is_ok() && **node != self.boot_id;
        for node in nodes.iter().filter(is_node).map(String::as_str) {
            match self.read_node(shared, node, &mut connection).await {
                Ok(()) => {}
                // What somebody else has put there says nothing of the rest.
                Err(error) if !error.is_io_error() && !error.is_timeout() => {
                    tracing::debug!(%error, node, "the sessions of a node can't be read");
                    forget(shared, [node].into_iter());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn read_node(
        &self,
        shared: &Shared,
        node: &str,
        connection: &mut MultiplexedConnection,
    ) -> Result<(), RedisError> {
        let key = self.of(node);
        let revision: Option<String> = connection.hget(&key, REVISION).await?;
        let Some(revision) = revision else {
            forget(shared, [node].into_iter());
            return Ok(());
        };
        let is_known =
            locked(&shared.registry.others).get(node).is_some_and(|known| known.revision == revision);
        if is_known {
            return Ok(());
        }
        let Some(sessions) = entries(&key, shared.registry.room(node), connection).await? else {
            tracing::debug!(node, "more sessions than are read");
            forget(shared, [node].into_iter());
            return Ok(());
        };
        for (presence, gone) in shared.registry.replace(node, revision, sessions) {
            shared.tell_presence(&presence, gone);
        }
        Ok(())
    }
}

/// What a node would have written of at most so many sessions; `None` when there is more. Somebody may have put there what no memory has room for.
async fn entries(
    key: &str,
    most: usize,
    connection: &mut MultiplexedConnection,
) -> Result<Option<BTreeMap<Uuid, Presence>>, RedisError> {
    let most_bytes = (most + 1) * ENTRY_BYTES;
    let usage: Option<usize> =
        cmd("MEMORY").arg("USAGE").arg(key).arg("SAMPLES").arg(0).query_async(connection).await?;
    if usage.is_some_and(|usage| usage > most_bytes) {
        return Ok(None);
    }
    // It may grow meanwhile.
    let (mut sessions, mut bytes, mut cursor) = (BTreeMap::new(), 0_usize, 0_u64);
    loop {
        let (next, page): (u64, Vec<(String, String)>) =
            cmd("HSCAN").arg(key).arg(cursor).arg("COUNT").arg(CHUNK).query_async(connection).await?;
        bytes += page.iter().map(|(id, text)| id.len() + text.len()).sum::<usize>();
        let found = page.iter().filter_map(|(id, text)| Presence::read(id, text));
        sessions.extend(found.map(|presence| (presence.conn_id, presence)));
        if bytes > most_bytes || sessions.len() > most {
            return Ok(None);
        }
        if next == 0 {
            return Ok(Some(sessions));
        }
        cursor = next;
    }
}

/// Nothing is known of these nodes any more.
fn forget<'a>(shared: &Shared, nodes: impl Iterator<Item = &'a str>) {
    for node in nodes {
        for (presence, gone) in shared.registry.replace(node, String::new(), BTreeMap::new()) {
            shared.tell_presence(&presence, gone);
        }
    }
}
