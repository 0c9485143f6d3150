//! What is counted of tokens after their issue.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::figures::{Reading, Timings};

/// What became of a refresh token that was presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A new pair.
    Refreshed,
    /// The same pair again.
    Repeated,
    /// It had been spent: the family was revoked.
    Reused,
    /// Its family or subject had been revoked.
    Revoked,
    /// Too late.
    Expired,
    /// None of ours, or what it stands for is gone.
    Invalid,
}

/// In the order of the counters.
const OUTCOMES: [&str; 6] = ["refreshed", "repeated", "reused", "revoked", "expired", "invalid"];

/// Counted by the handle.
#[derive(Debug, Default)]
pub(super) struct Tally {
    refreshes: [AtomicU64; OUTCOMES.len()],
    pub(super) revoked: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) damaged: AtomicU64,
    /// From a revocation elsewhere until it was known here.
    pub(super) lag: Timings,
}

/// What was counted up to a moment.
#[derive(Debug, Clone)]
pub struct Figures {
    /// Revocations in memory.
    pub live: usize,
    /// Revocations that this node has made.
    pub revoked: u64,
    /// Tokens that were refused because they are revoked.
    pub refused: u64,
    /// Rows that were found damaged.
    pub damaged: u64,
    /// Times until a revocation of another node was known here.
    pub lag: Reading,
    /// Refresh tokens that were presented, by what became of them.
    pub refreshes: Vec<(&'static str, u64)>,
}

impl Tally {
    pub(super) fn refresh(&self, outcome: Outcome) {
        if let Some(counter) = self.refreshes.get(outcome as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn read(&self, live: usize) -> Figures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Figures {
            live,
            revoked: read(&self.revoked),
            refused: read(&self.refused),
            damaged: read(&self.damaged),
            lag: self.lag.read(),
            refreshes: OUTCOMES
                .iter()
                .zip(&self.refreshes)
                .map(|(name, counter)| (*name, read(counter)))
                .collect(),
        }
    }
}
