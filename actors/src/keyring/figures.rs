//! What the ring counts of its changes, and what can be said of its keys at a moment.

use std::time::Duration;

use chrono::TimeDelta;

use super::{
    handle::WAITING_CHANGES,
    policy,
    record::{Key, Time},
};
use crate::{
    figures::{Reading, Timings},
    store::Connections,
};

/// Counted by handle and actor.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// From the question until the actor took it up.
    pub(super) waits: Timings,
    /// From the question until its answer.
    pub(super) changes: Timings,
}

/// What was counted up to a moment.
#[derive(Debug, Clone)]
pub struct Figures {
    /// Changes that wait for the one writer, or are being made.
    pub waiting: usize,
    /// Time that changes waited for their turn.
    pub waits: Reading,
    /// Time that changes took, waiting included.
    pub changes: Reading,
    /// Connections to the database.
    pub connections: Connections,
}

impl super::KeyRingHandle {
    /// What was counted so far.
    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures {
            waiting: WAITING_CHANGES.saturating_sub(self.permits.available_permits()),
            waits: self.tally.waits.read(),
            changes: self.tally.changes.read(),
            connections: self.database().connections(),
        }
    }
}

/// For how long a rotation is overdue: its time has come and the standby, if there is one, is old enough. A key that lacks the standby is
/// overdue all the same.
#[must_use]
pub fn overdue(key: &Key, now: Time) -> Option<Duration> {
    let due = policy::next_rotation_at(key)?;
    let due = policy::earliest_activation(key).map_or(due, |earliest| due.max(earliest));
    (now - due).to_std().ok().filter(|late| !late.is_zero())
}

/// How long the primary has been one.
#[must_use]
pub fn primary_age(key: &Key, now: Time) -> Option<TimeDelta> {
    Some(now - key.primary()?.activated_at?)
}
