//! What is counted of events.

use std::sync::atomic::{AtomicU64, Ordering};

use super::core::EventName;

/// Counted while it happens.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) subscribers: AtomicU64,
    pub(super) told: AtomicU64,
    sent: [AtomicU64; EventName::ALL.len()],
    pub(super) lagged: AtomicU64,
    pub(super) replays: AtomicU64,
    pub(super) readings: AtomicU64,
    pub(super) lines: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) pruned: AtomicU64,
}

/// What was counted up to a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// Subscribers now.
    pub subscribers: u64,
    /// Sessions of this node now.
    pub present: u64,
    /// Events of the change log that this node has told its subscribers.
    pub told: u64,
    /// Events that subscribers were handed, by name.
    pub sent: Vec<(&'static str, u64)>,
    /// Times that a subscriber fell so far behind that it had to read by itself.
    pub lagged: u64,
    /// Subscriptions from an epoch on.
    pub replays: u64,
    /// Readings of the change log for one subscriber.
    pub readings: u64,
    /// Lines of the change log that were read.
    pub lines: u64,
    /// Subscribers that got the whole ring, since what they missed can't be told any more.
    pub syncs: u64,
    /// Lines of the change log that this node has removed since nobody needs them.
    pub pruned: u64,
}

impl Tally {
    pub(super) fn sent(&self, name: EventName) {
        if let Some(count) = self.sent.get(name as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn read(&self, present: usize) -> Figures {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let sent = EventName::ALL.iter().zip(&self.sent).map(|(name, count)| (name.as_str(), of(count)));
        Figures {
            subscribers: of(&self.subscribers),
            present: u64::try_from(present).unwrap_or(u64::MAX),
            told: of(&self.told),
            sent: sent.filter(|(name, _)| *name != EventName::Tick.as_str()).collect(),
            lagged: of(&self.lagged),
            replays: of(&self.replays),
            readings: of(&self.readings),
            lines: of(&self.lines),
            syncs: of(&self.syncs),
            pruned: of(&self.pruned),
        }
    }
}
