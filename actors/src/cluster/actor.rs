//! The actor that keeps this node in step: it asks the database where the ring stands, every second and whenever somebody needs to
//! know, on a thread of its own so that no flood of requests delays it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use actix::prelude::*;
use claviger_crypto::random;
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot, watch};

use super::{core, figures::Tally};
use crate::{
    clock::{ClusterClock, uptime},
    keyring::{KeyRingHandle, RingFailure},
    masters::Held,
    store::{NodeRow, Sight, StoreError},
    tokens::TokensHandle,
};

/// How often the database is asked.
const POLL: Duration = Duration::from_secs(1);
/// Longest time for one answer.
const POLL_MAX: Duration = Duration::from_secs(5);
/// Starts of nodes whose acknowledgements are remembered.
const ACKNOWLEDGED_MAX: usize = 4_096;
/// Longest time that an answer waits for requests on the ring of before.
const SETTLE_MAX: Duration = Duration::from_millis(50);
/// A look at the database that takes longer is told of: a few of these, and nothing is served.
const SLOW_LOOK: Duration = Duration::from_secs(1);
/// Shortest pause between two questions that others wait for: whatever asks meanwhile shares the next one.
const PAUSE: Duration = Duration::from_millis(20);

pub(super) struct ClusterLink {
    pub(super) shared: Arc<Shared>,
    /// Whoever waits for the next answer.
    pub(super) waiting: Vec<Waiting>,
    pub(super) asking: bool,
}

/// What the actor and its handle know.
pub(super) struct Shared {
    pub(super) ring: KeyRingHandle,
    pub(super) tokens: TokensHandle,
    pub(super) held: Arc<Held>,
    pub(super) clock: Arc<ClusterClock>,
    pub(super) node: NodeRow,
    pub(super) draining: AtomicBool,
    /// Uptime in milliseconds of the last renewal of the row; zero = none.
    pub(super) renewed: AtomicU64,
    /// Epoch in the row.
    pub(super) written: AtomicU64,
    /// State of masters and data-encryption keys in the row.
    pub(super) written_seal: AtomicI64,
    /// Epochs that other nodes have acknowledged over Redis, by the start of the node.
    pub(super) acknowledged: Mutex<BTreeMap<String, u64>>,
    /// Told of every acknowledgement.
    pub(super) heard: Notify,
    /// How long the last strong changes waited.
    pub(super) barriers: Mutex<VecDeque<Duration>>,
    /// Redis answers.
    pub(super) connected: AtomicBool,
    /// The longest patience of any node that was ever seen, in milliseconds.
    pub(super) longest: AtomicI64,
    /// It has left for good.
    pub(super) left: AtomicBool,
    /// What is counted for whoever watches.
    pub(super) tally: Tally,
    /// Microseconds that the last answer took.
    pub(super) latency_us: AtomicU64,
    /// Revision of the alerts in the database.
    pub(super) alerts: watch::Sender<i64>,
}

/// What came of a question.
enum Standing {
    /// This node has what the database had when it was asked.
    Current,
    /// There is more to read than one question may take.
    Behind,
}

/// Ask the database.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Ask {
    /// Told whether it answered.
    pub(super) answered: Option<Waiting>,
}

/// Whoever waits for an answer of the database.
pub(super) struct Waiting {
    pub(super) told: oneshot::Sender<bool>,
    pub(super) _permit: Option<OwnedSemaphorePermit>,
}

impl Actor for ClusterLink {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.ask(context);
        Self::again(context);
    }
}

impl Handler<Ask> for ClusterLink {
    type Result = ();

    fn handle(&mut self, message: Ask, context: &mut Self::Context) {
        self.waiting.extend(message.answered);
        self.ask(context);
    }
}

impl ClusterLink {
    /// Polls, a little before or after the second, so that nodes that started together do not ask together for ever.
    fn again(context: &mut Context<Self>) {
        let jitter: u32 = random::bytes(1).map_or(0, |bytes| bytes.first().copied().unwrap_or(0).into());
        let pause = POLL - Duration::from_millis(100) + Duration::from_millis(200) * jitter / 256;
        context.run_later(pause, |link, context| {
            link.ask(context);
            Self::again(context);
        });
    }

    fn ask(&mut self, context: &mut Context<Self>) {
        if self.asking {
            return;
        }
        self.asking = true;
        let waiting = std::mem::take(&mut self.waiting);
        let shared = Arc::clone(&self.shared);
        let work = async move {
            let answer = tokio::time::timeout(POLL_MAX, shared.look()).await;
            let answer = answer.unwrap_or(Err(RingFailure::Storage(StoreError::Late)));
            shared.tally.database.store(answer.is_ok(), Ordering::Relaxed);
            if let Err(error) = &answer {
                shared.tokens.doubt();
                tracing::warn!(%error, "the database was not reached");
            }
            let is_current = matches!(answer, Ok(Standing::Current));
            for waiting in waiting {
                // Whoever waited may have given up.
                let _gone = waiting.told.send(is_current);
            }
            tokio::time::sleep(PAUSE).await;
            matches!(answer, Ok(Standing::Behind))
        };
        context.spawn(work.into_actor(self).map(|is_behind, link, context| {
            link.asking = false;
            if is_behind || !link.waiting.is_empty() {
                link.ask(context);
            }
        }));
    }
}

impl Shared {
    /// Another node uses changes up to an epoch.
    pub(super) fn acknowledge(&self, by: String, epoch: u64) {
        let mut acknowledged = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        if acknowledged.len() >= ACKNOWLEDGED_MAX && !acknowledged.contains_key(&by) {
            // Starts of long ago; whoever lives acknowledges again.
            acknowledged.clear();
        }
        let known = acknowledged.entry(by).or_default();
        *known = (*known).max(epoch);
        drop(acknowledged);
        self.heard.notify_waiters();
    }

    /// What a node has acknowledged over Redis.
    pub(super) fn acknowledged_by(&self, boot_id: &str) -> u64 {
        let acknowledged = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        acknowledged.get(boot_id).copied().unwrap_or_default()
    }

    /// One question, from the row of this node to the ring that follows from the answer.
    async fn look(&self) -> Result<Standing, RingFailure> {
        let failed = RingFailure::Storage;
        let database = self.ring.database();
        let began = uptime();
        self.renew().await.map_err(failed)?;
        let asked = uptime();
        let renewing = asked.saturating_sub(began);
        let (keychain, before) = {
            let snapshot = self.ring.snapshot();
            (Arc::clone(snapshot.keychain()), snapshot.position())
        };
        let horizon = self.tokens.horizon();
        let Sight { position, seal_revision, now, feed, alerts } =
            database.look(&keychain, horizon).await.map_err(failed)?;
        let answered = uptime();
        if let Some(now) = now {
            self.clock.set(now, asked, answered);
        }
        let latency = answered.saturating_sub(asked);
        self.latency_us.store(micros(latency), Ordering::Relaxed);
        self.alerts.send_if_modified(|known| std::mem::replace(known, alerts) != alerts);
        if self.held.is_behind(seal_revision) {
            // Before anything is read that may be sealed under a key that this node does not know.
            self.held.adopt(database).await.map_err(failed)?;
        }
        // A change that this node makes meanwhile takes in what others have done, so that a long line of them does not keep it waiting.
        let has_it = position == before
            || position.epoch > before.epoch && self.ring.snapshot().epoch >= position.epoch;
        if !has_it || self.ring.is_rewound() {
            self.ring.catch_up().await?;
        }
        let caught_up = uptime();
        // A node that does not know what is revoked is no more to be believed than one that does not know the ring.
        let Some(known) = self.tokens.follow(feed, asked).await.map_err(failed)? else {
            self.renew().await.map_err(failed)?;
            return Ok(Standing::Behind);
        };
        // The ring now has at least what the database had when it was asked; of revocations, what there was when their reading began.
        let asked = asked.min(known);
        let renewed = self.renewed.load(Ordering::Acquire);
        let renewed = (renewed > 0).then(|| Duration::from_millis(renewed));
        let is_member = !database.is_shared() || core::confirms(asked, renewed);
        if is_member && !self.ring.is_rewound() {
            self.ring.confirm(asked);
        }
        let took = uptime().saturating_sub(began);
        if took > SLOW_LOOK {
            let catching_up = caught_up.saturating_sub(answered);
            tracing::warn!(
                ?took,
                ?renewing,
                ?latency,
                ?catching_up,
                "the database was slow to tell what is new"
            );
        }
        // Whoever waits for this node to use a change is told as soon as it does; requests that still work on the ring of before end soon.
        let epoch = self.ring.snapshot().epoch;
        let since = uptime();
        while self.ring.settled() < epoch && uptime().saturating_sub(since) < SETTLE_MAX {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.renew().await.map_err(failed)?;
        Ok(Standing::Current)
    }

    /// Renews the row of this node, if it is time to.
    async fn renew(&self) -> Result<(), StoreError> {
        let database = self.ring.database();
        if !database.is_shared() || self.left.load(Ordering::Acquire) {
            return Ok(());
        }
        let (now, applied, seal_revision) = (uptime(), self.ring.settled(), self.held.revision());
        let renewed = self.renewed.load(Ordering::Acquire);
        let is_due = now.saturating_sub(Duration::from_millis(renewed)) >= core::HEARTBEAT - POLL;
        let is_written = self.written.load(Ordering::Acquire) == applied.0
            && self.written_seal.load(Ordering::Acquire) == seal_revision;
        if renewed > 0 && !is_due && is_written {
            return Ok(());
        }
        let draining = self.draining.load(Ordering::Relaxed);
        if !database.renew(&self.node.boot_id, (applied, seal_revision), draining).await? {
            let Some(seen_at) = database.server_clock().await? else { return Ok(()) };
            let applied_epoch = i64::try_from(applied.0).unwrap_or(i64::MAX);
            let row = NodeRow { seen_at, applied_epoch, draining, ..self.node.clone() };
            database.enter(&NodeRow { seal_revision: Some(seal_revision), ..row }).await?;
        }
        self.renewed.store(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
        self.written.store(applied.0, Ordering::Release);
        self.written_seal.store(seal_revision, Ordering::Release);
        Ok(())
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
