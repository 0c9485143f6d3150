//! What this node counts of its dealings with the others.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use crate::figures::{Reading, Timings};

/// Counted by the actors.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// The database answered the last question.
    pub(super) database: AtomicBool,
    /// Hints that were read.
    pub(super) received: AtomicU64,
    /// Hints that were not true: forged, or of another deployment.
    pub(super) unfounded: AtomicU64,
    /// Entries of the streams that are no hints.
    pub(super) unreadable: AtomicU64,
    /// Hints that could not be written.
    pub(super) unsent: AtomicU64,
    /// From a change until Redis had its hint.
    pub(super) publications: Timings,
    /// From a change until every live node used it, or the wait was given up.
    pub(super) barriers: Timings,
    /// Barriers that were given up.
    pub(super) lagging: AtomicU64,
}

/// What was counted up to a moment.
#[derive(Debug, Clone)]
pub struct Figures {
    /// The database answered when it was asked last, at most a few seconds ago.
    pub database: bool,
    /// Time that it took for its last answer.
    pub database_latency: Duration,
    /// Redis answers; `None` when there is none.
    pub redis: Option<bool>,
    /// Hints that were read.
    pub hints_received: u64,
    /// Hints that were not true.
    pub hints_unfounded: u64,
    /// Entries that are no hints.
    pub hints_unreadable: u64,
    /// Hints that could not be written.
    pub hints_unsent: u64,
    /// Waits of strong changes for the other nodes.
    pub barriers: Reading,
    /// Those that ended without word from every live node.
    pub barriers_lagging: u64,
    /// Times until a change was announced.
    pub publications: Reading,
    /// Requests that wait for an answer of the database.
    pub waiting: usize,
}

impl super::ClusterHandle {
    /// What was counted so far.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let tally = &self.shared.tally;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Figures {
            database: tally.database.load(Ordering::Relaxed),
            database_latency: self.database_latency(),
            redis: self.redis(),
            hints_received: read(&tally.received),
            hints_unfounded: read(&tally.unfounded),
            hints_unreadable: read(&tally.unreadable),
            hints_unsent: read(&tally.unsent),
            barriers: tally.barriers.read(),
            barriers_lagging: read(&tally.lagging),
            publications: tally.publications.read(),
            waiting: self.waiting(),
        }
    }
}
