//! What is kept of the log beside its files, and how long the files are kept.
//!
//! Three tasks on a thread of their own, so that neither a slow database nor a slow disk holds up anybody: [`events`] are written to the
//! database in batches; checkpoints ([`anchors`]) too, so that a log that was cut short is found out; closed segments are compressed
//! and, once they are old enough, removed ([`retention`]). Whatever fails is tried again, as long as it takes.

mod anchors;
#[cfg(test)]
mod bench;
mod compress;
mod events;
mod plan;
mod retention;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use actix::Arbiter;
use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use super::about::{Anchor, Prunable};
use crate::{
    clock::Clock,
    keyring::record::Time,
    store::{EventRow, StoreError},
};

/// Events that may wait for the database; further ones are counted and let go.
const WAITING_EVENTS: usize = 10_000;
/// Longest time for what waits at the very end.
const STOP_MAX: Duration = Duration::from_secs(2);
/// An answer of the database that takes longer is none.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The database, as far as the log has to do with it.
#[async_trait]
pub trait Shelf: Send + Sync {
    /// Keeps events; the same may come again.
    async fn add_events(&self, events: &[EventRow]) -> Result<(), StoreError>;
    /// Removes some of the events from before a moment.
    async fn forget_events(&self, before: Time) -> Result<u64, StoreError>;
    /// The last checkpoint of a chain that is kept.
    async fn anchor(&self, chain: Uuid) -> Result<Option<Anchor>, StoreError>;
    /// Keeps a checkpoint, unless a later one is.
    async fn put_anchor(&self, node: &str, anchor: &Anchor) -> Result<(), StoreError>;
}

/// The log, as far as segments are removed from it.
#[async_trait]
pub trait Prune: Send + Sync {
    /// Writes into the log that segments are about to be removed.
    ///
    /// # Errors
    /// It can't be written; then nothing may be removed.
    async fn prune(&self, prunable: Prunable) -> io::Result<()>;
}

/// How the log is kept.
#[derive(Debug, Clone)]
pub struct Keeping {
    /// Folder of the log.
    pub directory: PathBuf,
    /// This node.
    pub node: String,
    /// Segments and events that are older are removed.
    pub keep: Duration,
    /// Bytes that the folder may have; half of its volume unless given.
    pub room: Option<u64>,
    /// Longest time that an event waits for others to be written with.
    pub batch_interval: Duration,
    /// Shortest time between two checkpoints in the database.
    pub anchor_interval: Duration,
    /// Time between two looks at the folder.
    pub retention_interval: Duration,
    /// Pause before a first further attempt; it doubles up to thirty times this.
    pub retry: Duration,
}

impl Keeping {
    /// The defaults.
    #[must_use]
    pub const fn new(directory: PathBuf, node: String) -> Self {
        Self {
            directory,
            node,
            keep: Duration::from_secs(90 * 24 * 3_600),
            room: None,
            batch_interval: Duration::from_millis(500),
            anchor_interval: Duration::from_secs(1),
            retention_interval: Duration::from_secs(60),
            retry: Duration::from_secs(1),
        }
    }
}

/// What it has to do with.
#[derive(Clone)]
pub struct Around {
    /// The database.
    pub shelf: Arc<dyn Shelf>,
    /// The log.
    pub prune: Arc<dyn Prune>,
    /// Its last checkpoint.
    pub anchors: watch::Receiver<Option<Anchor>>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// What others may know of it.
#[derive(Debug)]
struct Status {
    /// Events that were let go.
    dropped: AtomicU64,
    /// Those that the database has not been told of.
    untold: AtomicU64,
    short_of_room: AtomicBool,
    /// The last checkpoint in the database.
    anchored: watch::Sender<Option<Anchor>>,
}

/// What the event task is sent.
enum Job {
    Event(String),
    /// Answers once everything before has been written.
    Flush(oneshot::Sender<()>),
}

/// Hands events on and tells how it stands. Cheap to clone.
#[derive(Clone)]
pub struct AuditKeeper {
    jobs: mpsc::Sender<Job>,
    anchors: watch::Receiver<Option<Anchor>>,
    status: Arc<Status>,
}

impl AuditKeeper {
    /// Starts the tasks.
    #[must_use]
    pub fn start(keeping: Keeping, around: Around) -> Self {
        let (jobs, queue) = mpsc::channel(WAITING_EVENTS);
        let status = Arc::new(Status {
            dropped: AtomicU64::new(0),
            untold: AtomicU64::new(0),
            short_of_room: AtomicBool::new(false),
            anchored: watch::Sender::new(None),
        });
        let arbiter = Arbiter::new().handle();
        let shared = || (keeping.clone(), around.clone(), Arc::clone(&status));
        // The arbiter has just been made; while it lives it takes tasks.
        let _taken = arbiter.spawn(events::run(queue, shared()));
        let _taken = arbiter.spawn(anchors::run(shared()));
        let _taken = arbiter.spawn(retention::run(shared()));
        Self { jobs, anchors: around.anchors, status }
    }

    /// Has an event, a record as JSON, written to the database. Nobody waits: where too many do already, it is counted and let go.
    pub fn record(&self, record: String) {
        if self.jobs.try_send(Job::Event(record)).is_err() {
            self.status.dropped.fetch_add(1, Ordering::Relaxed);
            self.status.untold.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Events that were let go since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.status.dropped.load(Ordering::Relaxed)
    }

    /// Events that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.jobs.max_capacity() - self.jobs.capacity()
    }

    /// When the last checkpoint that is in the database was made.
    #[must_use]
    pub fn anchored_at(&self) -> Option<Time> {
        self.status.anchored.borrow().as_ref().map(|anchor| anchor.at)
    }

    /// The log's last checkpoint is not in the database: when it was made.
    #[must_use]
    pub fn unanchored_since(&self) -> Option<Time> {
        let newest = self.anchors.borrow().clone()?;
        let is_kept = self.status.anchored.borrow().as_ref().is_some_and(|kept| kept.hash == newest.hash);
        (!is_kept).then_some(newest.at)
    }

    /// Segments had to be removed before their time, or should have been.
    #[must_use]
    pub fn is_short_of_room(&self) -> bool {
        self.status.short_of_room.load(Ordering::Relaxed)
    }

    /// Waits, not for long, until the database has what has come so far.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        let mut anchored = self.status.anchored.subscribe();
        let newest = self.anchors.borrow().clone();
        let all = async {
            let sent = self.jobs.send(Job::Flush(done)).await.is_ok();
            let written = sent && flushed.await.is_ok();
            let is_kept = |kept: &Option<Anchor>| {
                newest
                    .as_ref()
                    .is_none_or(|newest| kept.as_ref().is_some_and(|kept| kept.hash == newest.hash))
            };
            written && anchored.wait_for(is_kept).await.is_ok()
        };
        if !tokio::time::timeout(STOP_MAX, all).await.unwrap_or(false) {
            tracing::warn!("events or the last checkpoint of the audit log are not in the database");
        }
    }
}

/// Pauses that double.
struct Pauses {
    next: Duration,
    longest: Duration,
}

impl Pauses {
    fn new(first: Duration) -> Self {
        Self { next: first, longest: first * 30 }
    }

    fn is_first(&self) -> bool {
        self.next * 30 == self.longest
    }

    async fn pause(&mut self) {
        tokio::time::sleep(self.next).await;
        self.next = (self.next * 2).min(self.longest);
    }
}

/// An answer of the database, or that there was none in time.
async fn in_time<T>(answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(ANSWER_MAX, answer).await.unwrap_or(Err(StoreError::Late))
}
