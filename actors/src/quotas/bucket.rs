//! What one principal, key or address has left at this node.

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use governor::{
    RateLimiter,
    clock::Clock,
    middleware::StateInformationMiddleware,
    nanos::Nanos,
    state::{InMemoryState, NotKeyed},
};

use super::core::{Class, Name, Quota, Standing, WHOLE};
use crate::clock::uptime;

/// Time that no clock change moves.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Uptime;

impl Clock for Uptime {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        uptime().into()
    }
}

/// Counts by the generic cell rate algorithm, in units of cost.
pub(super) struct Bucket<C: Clock = Uptime> {
    limiter: RateLimiter<NotKeyed, InMemoryState, C, StateInformationMiddleware>,
    /// Under which the other nodes know it.
    pub(super) name: Name,
    /// What a request costs here now.
    cost: AtomicU32,
    /// Requests since it was looked at, let through or not.
    asked: AtomicU32,
    /// How often it was asked for, of late.
    frequency: AtomicU32,
}

impl<C: Clock> Bucket<C> {
    /// A full one.
    pub(super) fn new(quota: Quota, name: Name, cost: u32, clock: C) -> Self {
        let capacity = NonZeroU32::new(quota.capacity()).unwrap_or(NonZeroU32::MIN);
        let one = (quota.window / capacity.get()).max(Duration::from_nanos(1));
        let rule =
            governor::Quota::with_period(one).unwrap_or_else(|| governor::Quota::per_second(NonZeroU32::MIN));
        let limiter = RateLimiter::direct_with_clock(rule.allow_burst(capacity), clock);
        Self {
            limiter: limiter.with_middleware(),
            name,
            cost: cost.into(),
            asked: 0.into(),
            frequency: 0.into(),
        }
    }

    /// A request is made.
    pub(super) fn ask(&self, class: Class, quota: Quota) -> Standing {
        // It would have to be asked four billion times within a second to begin anew.
        self.asked.fetch_add(1, Ordering::Relaxed);
        let capacity = quota.capacity();
        let cost = self.cost.load(Ordering::Relaxed).clamp(WHOLE, capacity);
        let judged = self.limiter.check_n(NonZeroU32::new(cost).unwrap_or(NonZeroU32::MIN));
        let (left, wait) = match judged {
            Ok(Ok(state)) => (state.remaining_burst_capacity(), None),
            Ok(Err(later)) => {
                let wait: Duration = later.wait_time_from(self.limiter.clock().now());
                (0, Some(wait.max(Duration::from_millis(1))))
            }
            // It costs no more than all there is.
            Err(_) => (0, Some(quota.window)),
        };
        let used = capacity.saturating_sub(left);
        let reset = wait.unwrap_or_else(|| quota.window.mul_f64(f64::from(used) / f64::from(capacity)));
        Standing { class, quota, remaining: left / cost, reset, wait }
    }

    /// Another second is over: how often it was asked for, of late.
    pub(super) fn fade(&self, quota: Quota) -> u32 {
        let asked = self.asked.swap(0, Ordering::Relaxed);
        let frequency = quota.faded(self.frequency.load(Ordering::Relaxed), asked);
        self.frequency.store(frequency, Ordering::Relaxed);
        frequency
    }

    /// What a request costs from now on.
    pub(super) fn set_cost(&self, cost: u32) {
        self.cost.store(cost, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    const TEN: Quota = Quota { count: 10, window: Duration::from_secs(5) };

    fn passed(bucket: &Bucket<FakeRelativeClock>, times: usize) -> usize {
        (0..times).filter(|_| bucket.ask(Class::Principal, TEN).wait.is_none()).count()
    }

    #[test]
    fn as_many_as_the_quota_says_and_then_at_its_rate() {
        let clock = FakeRelativeClock::default();
        let bucket = Bucket::new(TEN, Name::default(), WHOLE, clock.clone());
        let first = bucket.ask(Class::Principal, TEN);
        assert_eq!((first.remaining, first.wait), (9, None));
        assert_eq!(first.reset.as_millis(), 500);
        assert_eq!(passed(&bucket, 100), 9);
        let refused = bucket.ask(Class::Principal, TEN);
        assert_eq!((refused.remaining, refused.reset), (0, refused.wait.unwrap()));
        assert_eq!(refused.reset.as_millis().div_ceil(10), 50);
        // Whoever waits as told is let through, once.
        clock.advance(refused.reset);
        assert_eq!(passed(&bucket, 5), 1);
        clock.advance(Duration::from_secs(2));
        assert_eq!(passed(&bucket, 50), 4);
        clock.advance(Duration::from_secs(600));
        assert_eq!(passed(&bucket, 50), 10);
    }

    #[test]
    fn a_part_of_it_is_a_part_of_burst_and_rate() {
        let clock = FakeRelativeClock::default();
        let bucket = Bucket::new(TEN, Name::default(), TEN.even_cost(2), clock.clone());
        assert_eq!(passed(&bucket, 100), 5);
        clock.advance(Duration::from_secs(5));
        assert_eq!(passed(&bucket, 100), 5);
        bucket.set_cost(WHOLE);
        clock.advance(Duration::from_secs(5));
        assert_eq!(passed(&bucket, 100), 10);
        // However many nodes there are, one request passes.
        bucket.set_cost(u32::MAX);
        clock.advance(Duration::from_secs(5));
        assert_eq!(passed(&bucket, 100), 1);
    }
}
