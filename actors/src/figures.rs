//! Figures that are counted while work is done, and read now and then.
//!
//! Plain atomics in the shells: counting takes no lock and allocates nothing, and cores know nothing of it. Whoever reads gets numbers
//! that were true a moment ago, each by itself.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use crossbeam_utils::CachePadded;

/// Places for threads that count; where there are more threads, they share.
pub const PLACES: usize = 8;

/// The place of this thread, below [`PLACES`].
#[must_use]
pub fn place() -> usize {
    static TAKEN: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static PLACE: usize = TAKEN.fetch_add(1, Ordering::Relaxed) % PLACES;
    }
    PLACE.with(|place| *place)
}

/// A number that many threads change with every request. Each does so in a place of its own: a processor that wants what another one has
/// just touched waits for it longer than for anything else that counting costs.
#[derive(Debug, Default)]
pub struct Spread([CachePadded<AtomicU64>; PLACES]);

impl Spread {
    /// Adds one; answers with what this thread, and those that share its place, had before.
    pub fn enter(&self) -> u64 {
        self.here().map_or(0, |here| here.fetch_add(1, Ordering::Relaxed))
    }

    /// Takes one away, on the thread that has added it.
    pub fn leave(&self) {
        if let Some(here) = self.here() {
            here.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// All of them together.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.0.iter().map(|here| here.load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    }

    fn here(&self) -> Option<&AtomicU64> {
        self.0.get(place()).map(|padded| &**padded)
    }
}

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
    /// Together with what was counted elsewhere.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.cumulative.iter_mut().zip(&other.cumulative).for_each(|(all, more)| *all += more);
        self.sum += other.sum;
        self
    }

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
    fn whatever_is_counted_by_many_threads_comes_together() {
        let spread = Spread::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * PLACES {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        spread.enter();
                    }
                    for _ in 0..999 {
                        spread.leave();
                    }
                });
            }
        });
        assert_eq!(spread.sum(), 2 * PLACES as u64);
        assert!(place() < PLACES && place() == place());
    }

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
        let both = reading.clone().and(&reading);
        assert_eq!((both.cumulative[0], both.count(), both.sum), (4, 10, 2 * reading.sum));
    }
}
