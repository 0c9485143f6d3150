//! The door to the quotas.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use claviger_crypto::digest::MacKey;
use moka::{policy::EvictionPolicy, sync::Cache};

use super::{
    bucket::{Bucket, Uptime},
    core::{Class, Quota, Standing, WHOLE, name},
    exchange::{self, QuotaSource},
};

/// Principals, keys or addresses of a class that are remembered. Beyond them whoever has not asked for longest is forgotten, and has not
/// used much.
const REMEMBERED_MAX: u64 = 20_000;

/// Knows how much is left. Cheap to clone.
#[derive(Clone)]
pub struct QuotasHandle(Arc<Inner>);

pub(super) struct Inner {
    /// In the order of [`Class::ALL`].
    pub(super) classes: [Option<Tracked>; 5],
    limits_uses: bool,
    pub(super) secret: MacKey,
    /// Nodes of whose parts a new bucket takes one; one = all of it.
    pub(super) parts: AtomicU32,
    refused: [AtomicU64; 5],
}

/// Those of a class who have asked of late.
pub(super) struct Tracked {
    pub(super) quota: Quota,
    pub(super) buckets: Cache<u128, Arc<Bucket>>,
}

impl QuotasHandle {
    /// Starts to exchange what is asked for, unless nothing is limited. Quotas are in the order of [`Class::ALL`].
    #[must_use]
    pub fn start(quotas: [Option<Quota>; 5], source: QuotaSource) -> Self {
        let is_limited = |class: Class| quotas.get(class as usize).is_some_and(Option::is_some);
        let inner = Inner {
            limits_uses: [Class::Principal, Class::Key, Class::Address].into_iter().any(is_limited),
            classes: quotas.map(|quota| quota.map(Tracked::new)),
            secret: MacKey::new(source.secret()),
            parts: 1.into(),
            refused: Default::default(),
        };
        let this = Self(Arc::new(inner));
        if this.0.classes.iter().any(Option::is_some) {
            actix::spawn(exchange::keep(Arc::clone(&this.0), source));
        }
        this
    }

    /// Something of a class is limited.
    #[must_use]
    pub fn limits(&self, class: Class) -> bool {
        self.0.tracked(class).is_some()
    }

    /// Uses of keys and of what is stored are limited by anything.
    #[must_use]
    pub fn limits_uses(&self) -> bool {
        self.0.limits_uses
    }

    /// Somebody asks; `None` where nothing is limited.
    #[must_use]
    pub fn ask(&self, class: Class, who: u128) -> Option<Standing> {
        let Tracked { quota, buckets } = self.0.tracked(class)?;
        let bucket = buckets.get_with(who, || {
            let parts = self.0.parts.load(Ordering::Relaxed);
            let cost = if parts <= 1 { WHOLE } else { quota.even_cost(parts) };
            Arc::new(Bucket::new(*quota, name(&self.0.secret, class, who), cost, Uptime))
        });
        let standing = bucket.ask(class, *quota);
        if standing.wait.is_some()
            && let Some(refused) = self.0.refused.get(class as usize)
        {
            refused.fetch_add(1, Ordering::Relaxed);
        }
        Some(standing)
    }

    /// Requests that were refused, by class.
    pub fn refused(&self) -> impl Iterator<Item = (Class, u64)> {
        Class::ALL
            .into_iter()
            .zip(&self.0.refused)
            .map(|(class, count)| (class, count.load(Ordering::Relaxed)))
    }
}

impl Inner {
    fn tracked(&self, class: Class) -> Option<&Tracked> {
        self.classes.get(class as usize)?.as_ref()
    }
}

impl Tracked {
    fn new(quota: Quota) -> Self {
        // Whoever has not asked for that long has all of it again.
        let idle = quota.window + Duration::from_secs(120);
        let buckets = Cache::builder().max_capacity(REMEMBERED_MAX).eviction_policy(EvictionPolicy::lru());
        Self { quota, buckets: buckets.time_to_idle(idle).build() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix::test]
    async fn what_is_remembered_is_bounded_and_whoever_asks_all_the_time_is_not_forgotten() {
        let quota = Quota { count: 5, window: Duration::from_secs(3_600) };
        let mut quotas = [None; 5];
        quotas[Class::Address as usize] = Some(quota);
        let quotas = QuotasHandle::start(quotas, QuotaSource::alone());
        assert!(quotas.ask(Class::Key, 1).is_none() && quotas.limits(Class::Address));
        let mut passed = 0;
        for who in 0..100_000 {
            let _stranger = quotas.ask(Class::Address, who + 1_000);
            if who % 1_000 == 0 {
                passed += usize::from(quotas.ask(Class::Address, 7).unwrap().wait.is_none());
            }
        }
        assert_eq!(passed, 5);
        let buckets = &quotas.0.classes[Class::Address as usize].as_ref().unwrap().buckets;
        buckets.run_pending_tasks();
        assert!(buckets.entry_count() <= REMEMBERED_MAX, "{}", buckets.entry_count());
        assert_eq!(quotas.refused().map(|(_, count)| count).sum::<u64>(), 95);
    }
}
