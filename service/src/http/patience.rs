//! Strangers who ask as fast as they are answered wait for what they are told.
//!
//! A refusal costs a node about as much as a small piece of work, so that whoever asks for nothing else takes its processors from those who
//! have a credential. A node gives some refusals a second at once and the others after a while, the longer the more are waiting: however
//! many connections they come from, there are few hundred of them a second. Nobody who is recognised ever waits here.

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use actix_web::rt::time::sleep;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// Refusals of a second that are given at once, by a node.
const AT_ONCE: NonZeroU32 = NonZeroU32::MIN.saturating_add(99);
/// How long one beyond them waits at least.
const LEAST: Duration = Duration::from_millis(200);
/// So much longer for each that waits already.
const STEP: Duration = Duration::from_millis(5);
/// No client gives up that soon, and no stop waits for long.
const MOST: Duration = Duration::from_secs(2);

/// Marks an answer as one to somebody whom nobody knows.
pub(super) struct Stranger;

/// Those who wait.
pub struct Patience {
    at_once: DefaultDirectRateLimiter,
    waiting: AtomicUsize,
}

/// One of them, until it has been told or has hung up.
struct Place<'patience>(&'patience AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self { at_once: RateLimiter::direct(Quota::per_second(AT_ONCE)), waiting: 0.into() }
    }
}

impl Patience {
    /// Until a refusal may be given.
    pub(super) async fn hold(&self) {
        if self.at_once.check().is_err() {
            let ahead = self.waiting.fetch_add(1, Ordering::Relaxed);
            let _place = Place(&self.waiting);
            sleep(pause(ahead)).await;
        }
    }

    /// Those who wait now.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// How long one waits with so many ahead.
fn pause(ahead: usize) -> Duration {
    LEAST.saturating_add(STEP.saturating_mul(u32::try_from(ahead).unwrap_or(u32::MAX))).min(MOST)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn the_more_wait_the_longer_and_never_for_long() {
        for (ahead, milliseconds) in [(0, 200), (1, 205), (64, 520), (360, 2_000), (usize::MAX, 2_000)] {
            assert_eq!(pause(ahead), Duration::from_millis(milliseconds), "{ahead}");
        }
        // However many knock until all have waited, so many are told in a second.
        for waiting in [1, 32, 100, 360] {
            let a_second = waiting as f64 / pause(waiting - 1).as_secs_f64();
            assert!(a_second <= 200.0, "{waiting} {a_second}");
        }
    }

    #[actix_web::test]
    async fn some_are_told_at_once_and_whoever_hangs_up_waits_no_more() {
        let patience = Patience::default();
        let told = (0..500).take_while(|_| patience.hold().now_or_never().is_some()).count();
        assert!((100..500).contains(&told), "{told}");
        assert_eq!(patience.waiting(), 0);
        let began = Instant::now();
        let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(patience.hold())).collect();
        for one in &mut waiting {
            assert!(one.as_mut().now_or_never().is_none());
        }
        assert_eq!(patience.waiting(), 3);
        let last = waiting.pop();
        drop(waiting);
        assert_eq!(patience.waiting(), 1);
        last.unwrap().await;
        assert!(began.elapsed() >= LEAST);
        assert_eq!(patience.waiting(), 0);
    }
}
