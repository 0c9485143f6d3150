//! Strangers who ask as fast as they are answered wait for what they are told.
//!
//! A refusal costs a node about as much as a small piece of work, so that whoever asks for nothing else takes its processors from those who
//! have a credential. A node gives some refusals a second at once and the others after a while, the longer the more are waiting: however
//! many connections they come from, there are few hundred of them a second. What is public (keys, health) is there for everybody, and as
//! fast as the node can; only while somebody who is recognised works here too, those beyond a thousand a second let them go first.
//! Nobody who is recognised ever waits here.

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::{Duration, Instant},
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

/// Public answers of a second that are given at once, by a node on which somebody works.
const PUBLIC_AT_ONCE: NonZeroU32 = NonZeroU32::MIN.saturating_add(999);
/// How long somebody counts as working after a request, and how exactly that is taken down, in milliseconds.
const BUSY_MS: u64 = 200;
const EXACT_MS: u64 = 50;
/// How long one beyond them waits: no probe of health gives up that soon.
const PUBLIC: Duration = Duration::from_millis(100);

/// Marks an answer as one to somebody whom nobody knows.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stranger {
    /// Who was refused.
    Refused,
    /// Who has looked at what is public.
    Looked,
}

/// Those who wait.
pub struct Patience {
    refusals: DefaultDirectRateLimiter,
    looks: DefaultDirectRateLimiter,
    since: Instant,
    /// When somebody who is recognised has worked here, in milliseconds from then.
    worked_at: AtomicU64,
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
        let [refusals, looks] =
            [AT_ONCE, PUBLIC_AT_ONCE].map(|at_once| RateLimiter::direct(Quota::per_second(at_once)));
        Self { refusals, looks, since: Instant::now(), worked_at: 0.into(), waiting: 0.into() }
    }
}

impl Patience {
    /// Somebody who is recognised works here.
    pub(super) fn work(&self, now: Instant) {
        let now = self.millis(now);
        // Seldom written to: what all threads only read is cheap.
        if now.saturating_sub(self.worked_at.load(Ordering::Relaxed)) >= EXACT_MS {
            self.worked_at.store(now, Ordering::Relaxed);
        }
    }

    /// It need not wait.
    pub(super) fn is_due(&self, stranger: Stranger, now: Instant) -> bool {
        match stranger {
            Stranger::Refused => self.refusals.check().is_ok(),
            Stranger::Looked => !self.is_busy(now) || self.looks.check().is_ok(),
        }
    }

    fn is_busy(&self, now: Instant) -> bool {
        let worked_at = self.worked_at.load(Ordering::Relaxed);
        worked_at > 0 && self.millis(now).saturating_sub(worked_at) < BUSY_MS
    }

    /// Never zero.
    fn millis(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.since);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX).saturating_add(EXACT_MS)
    }

    /// Waits until an answer that is not due may be given.
    pub(super) async fn hold(&self, stranger: Stranger) {
        let ahead = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _place = Place(&self.waiting);
        sleep(match stranger {
            Stranger::Refused => pause(ahead),
            Stranger::Looked => PUBLIC,
        })
        .await;
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
        let told = (0..500).take_while(|_| patience.is_due(Stranger::Refused, Instant::now())).count();
        assert!((100..500).contains(&told), "{told}");
        assert_eq!(patience.waiting(), 0);
        let began = Instant::now();
        let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(patience.hold(Stranger::Refused))).collect();
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

    #[test]
    fn what_is_public_waits_only_for_those_who_work() {
        let patience = Patience::default();
        let now = Instant::now();
        let looks = |now| (0..5_000).take_while(|_| patience.is_due(Stranger::Looked, now)).count();
        assert_eq!(looks(now), 5_000);
        patience.work(now);
        let at_once = looks(now + Duration::from_millis(149));
        assert!((1_000..5_000).contains(&at_once), "{at_once}");
        // It goes on for as long as somebody works.
        patience.work(now + Duration::from_millis(150));
        assert!(looks(now + Duration::from_millis(349)) < 5_000);
        assert_eq!(looks(now + Duration::from_millis(350)), 5_000);
    }
}
