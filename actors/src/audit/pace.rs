//! Whether the writer looks around before it sleeps.
//!
//! That is worth its while only where the next group comes before it would be asleep. Where groups are further apart, whoever looks around
//! takes the processor from those who make them.

use std::time::{Duration, Instant};

/// How long it looks around for more.
const LINGER: Duration = Duration::from_micros(20);

/// How close together groups come.
#[derive(Default)]
pub(super) struct Pace {
    /// Since when there has been nothing to do.
    idle_since: Option<Instant>,
    /// The last ones were closer together than it would look around.
    is_brisk: bool,
}

impl Pace {
    /// It looked at this time, and something had come.
    pub(super) fn came(&mut self, looked: Instant) {
        if let Some(since) = self.idle_since.take() {
            self.is_brisk = looked.saturating_duration_since(since) < LINGER;
        }
    }

    /// There is nothing to do: whether to look around for longer.
    pub(super) fn lingers(&mut self, now: Instant) -> bool {
        let since = *self.idle_since.get_or_insert(now);
        self.is_brisk && now.saturating_duration_since(since) < LINGER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Microseconds between two groups, and whether it looks around afterwards.
    #[test]
    fn it_looks_around_while_groups_come_close_together() {
        let mut pace = Pace::default();
        let mut now = Instant::now();
        assert!(!pace.lingers(now), "it has seen none");
        for (gap, expected) in [(500, false), (19, true), (1, true), (20, false), (300, false), (5, true)] {
            now += Duration::from_micros(gap);
            pace.came(now);
            now += Duration::from_micros(7);
            assert_eq!(pace.lingers(now), expected, "after {gap} µs");
            assert_eq!(pace.lingers(now + LINGER / 2), expected, "for a while");
            assert!(!pace.lingers(now + LINGER), "and no longer");
        }
    }
}
