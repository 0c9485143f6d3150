//! What the scheduler counts.

use std::sync::atomic::{AtomicU64, Ordering};

use super::core::Due;

/// What became of something that was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was done.
    Done,
    /// Another node was first, or it was not due any more.
    Lost,
    /// It failed and is tried again.
    Failed,
}

/// Kinds of work, in the order of the counters.
const CHANGES: [&str; 4] = ["standby", "rotation", "retirement", "end_of_life"];
const OUTCOMES: [&str; 3] = ["done", "lost", "failed"];

/// Counted by the actor.
#[derive(Debug, Default)]
pub(super) struct Tally([[AtomicU64; OUTCOMES.len()]; CHANGES.len()]);

impl Tally {
    pub(super) fn count(&self, change: usize, outcome: Outcome) {
        if let Some(counter) = self.0.get(change).and_then(|counters| counters.get(outcome as usize)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Kind of work, outcome, how often.
    pub(super) fn read(&self) -> Vec<(&'static str, &'static str, u64)> {
        let rows = CHANGES.into_iter().zip(&self.0);
        rows.flat_map(|(change, counters)| {
            let counted = OUTCOMES.into_iter().zip(counters);
            counted.map(move |(outcome, counter)| (change, outcome, counter.load(Ordering::Relaxed)))
        })
        .collect()
    }
}

/// Place of its counters.
pub(super) const fn place(due: &Due) -> usize {
    match due {
        Due::Standby(_) => 0,
        Due::Rotation(..) | Due::Worn(..) => 1,
        Due::Retirement(_) => 2,
        Due::EndOfLife(_) => 3,
    }
}
