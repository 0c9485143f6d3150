//! How long to wait before the next attempt. Pure.

use std::time::Duration;

/// How attempts to connect follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Wait after the first failure; every further one is twice as long.
    pub first: Duration,
    /// Longest wait, before it is spread.
    pub cap: Duration,
    /// Waits are spread by so many per cent to both sides, so that clients that were cut off together do not come back together.
    pub jitter_percent: u32,
    /// Attempts that fail in a row before the client gives up.
    pub attempts: u32,
}

impl Default for Backoff {
    /// Those of the protocol.
    fn default() -> Self {
        Self { first: Duration::from_secs(3), cap: Duration::from_secs(60), jitter_percent: 20, attempts: 20 }
    }
}

impl Backoff {
    /// The wait after so many waits in a row; `random` is from 0 to 1.
    #[must_use]
    pub fn delay(&self, waits_before: u32, random: f64) -> Duration {
        let doubled = 2_u32.checked_pow(waits_before).and_then(|factor| self.first.checked_mul(factor));
        let base = doubled.map_or(self.cap, |delay| delay.min(self.cap));
        let spread = f64::from(self.jitter_percent.min(100)) / 100.0;
        base.mul_f64(1.0 + spread * (2.0 * random.clamp(0.0, 1.0) - 1.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_double_up_to_the_cap() {
        let seconds: Vec<u64> = (0..8).map(|waits| Backoff::default().delay(waits, 0.5).as_secs()).collect();
        assert_eq!(seconds, [3, 6, 12, 24, 48, 60, 60, 60]);
        assert_eq!(Backoff::default().delay(0, 0.0), Duration::from_millis(2_400));
        assert_eq!(Backoff::default().delay(0, 1.0), Duration::from_millis(3_600));
    }

    proptest! {
        #[test]
        fn every_wait_is_within_its_bounds(waits in any::<u32>(), random in any::<f64>()) {
            let delay = Backoff::default().delay(waits, if random.is_nan() { 0.0 } else { random });
            prop_assert!((Duration::from_millis(2_400)..=Duration::from_secs(72)).contains(&delay));
        }
    }
}
