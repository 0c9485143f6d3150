//! Figures that are counted while work is done, and read now and then.
//!
//! Plain atomics in the shells: counting takes no lock and allocates nothing, and cores know nothing of it. Whoever reads gets numbers
//! that were true a moment ago, each by itself.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Upper bounds of the buckets, in microseconds: from what a signature takes to what nobody waits for.
pub const BOUNDS_US: [u64; 17] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// How often something took how long.
#[derive(Debug, Default)]
pub struct Timings {
    /// One a bound, and one for what is above the last.
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

/// What was counted up to a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Times up to each bound; the last number is that of all.
    pub cumulative: Vec<u64>,
    /// All of them together.
    pub sum: Duration,
}

impl Timings {
    /// Takes down that something took so long.
    pub fn observe(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let at = BOUNDS_US.partition_point(|bound| *bound < us);
        if let Some(bucket) = self.buckets.get(at) {
            bucket.fetch_add(1, Ordering::Relaxed);
            self.sum_us.fetch_add(us, Ordering::Relaxed);
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn read(&self) -> Reading {
        let sum = Duration::from_micros(self.sum_us.load(Ordering::Relaxed));
        let mut total = 0;
        let cumulative = self.buckets.iter().map(|bucket| {
            total += bucket.load(Ordering::Relaxed);
            total
        });
        Reading { cumulative: cumulative.collect(), sum }
    }
}

impl Reading {
    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.cumulative.last().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_into_their_buckets() {
        let timings = Timings::default();
        for us in [0, 50, 51, 10_000_000, 10_000_001] {
            timings.observe(Duration::from_micros(us));
        }
        let reading = timings.read();
        assert_eq!(reading.cumulative[..3], [2, 3, 3]);
        assert_eq!(reading.cumulative[15..], [3, 4, 5]);
        assert_eq!((reading.count(), reading.sum), (5, Duration::from_micros(20_000_102)));
    }
}
