//! Who has failed too often.
//!
//! Only failed attempts are limited: whoever has a valid credential passes, however often somebody behind the same address has failed. What
//! is kept is bounded, whatever comes.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv6Addr},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use claviger_actors::{
    attempts::{AttemptRule, SharedAttempts},
    clock::uptime,
};

/// Failures that are remembered.
const WINDOW_MS: u64 = 60_000;
/// How long attempts fail at once after too many.
const LOCKOUT_MS: u64 = 300_000;
/// Addresses that are remembered, in all scopes together.
const ENTRIES_MAX: usize = 10_000;
/// Entries that are looked at to find one that may go.
const LOOKS_MAX: usize = 16;
/// Entries that are looked at with every attempt, to forget what is over.
const LOOKS: usize = 2;
/// Most failures that can be asked to be remembered.
const FAILURES_MAX: usize = 10;

/// What was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LimitScope {
    /// An API key or a token, over a WebSocket.
    SharedSecret,
    /// The password. By itself, since it alone can be guessed: no other credential makes its failures forgotten.
    Password,
    /// The token of a device.
    DeviceToken,
    /// A credential over HTTP.
    Http,
}

impl LimitScope {
    /// Every scope.
    pub const ALL: [Self; 4] = [Self::SharedSecret, Self::Password, Self::DeviceToken, Self::Http];

    /// Its name, for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SharedSecret => "shared-secret",
            Self::Password => "password",
            Self::DeviceToken => "device-token",
            Self::Http => "http",
        }
    }
}

/// An address as far as it tells one client from another: of IPv6, the network that one client has to itself.
type Place = (LimitScope, Option<IpAddr>);

fn place(scope: LimitScope, address: IpAddr) -> Place {
    (scope, Some(network_of(address)))
}

/// The network that one client has to itself: an address of IPv4, a /64 of IPv6.
#[must_use]
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    /// When it failed, newest first; zero = never.
    failures: [u64; FAILURES_MAX],
    locked_until: u64,
}

impl Entry {
    /// Nothing of it counts any more.
    fn is_over(&self, now: u64) -> bool {
        let newest = self.failures.first().copied().unwrap_or(0);
        self.locked_until <= now && (newest == 0 || now.saturating_sub(newest) >= WINDOW_MS)
    }
}

/// The state, without clock.
#[derive(Debug)]
struct Core {
    limit: usize,
    entries: HashMap<Place, Entry>,
    /// In the order in which they came, or were looked at; some that are here are not remembered any more.
    order: VecDeque<Place>,
}

impl Core {
    /// So many failures lead to a lockout.
    fn new(limit: usize) -> Self {
        Self { limit: limit.min(FAILURES_MAX), entries: HashMap::new(), order: VecDeque::new() }
    }

    /// How long attempts from there still fail at once, in milliseconds.
    fn locked(&self, scope: LimitScope, address: IpAddr, now: u64) -> Option<u64> {
        let locked =
            |place| Some(self.entries.get(&place)?.locked_until.saturating_sub(now)).filter(|left| *left > 0);
        let own = place(scope, address);
        if self.entries.contains_key(&own) { locked(own) } else { locked((scope, None)) }
    }

    /// An attempt has failed. Answers how long others fail at once, if they do: this one has been within a lockout, or has begun one
    /// only for those after it.
    fn failed(&mut self, scope: LimitScope, address: IpAddr, now: u64) -> Option<u64> {
        if self.limit == 0 {
            return None;
        }
        if let Some(left) = self.locked(scope, address, now) {
            // It does not extend it.
            return Some(left);
        }
        self.forget(now);
        let place = self.room(place(scope, address), now);
        let limit = self.limit;
        let entry = self.entries.entry(place).or_default();
        if entry.locked_until > 0 {
            *entry = Entry::default();
        }
        entry.failures.rotate_right(1);
        if let Some(newest) = entry.failures.first_mut() {
            *newest = now.max(1);
        }
        let recent = entry.failures.iter().take_while(|at| **at > 0 && now.saturating_sub(**at) < WINDOW_MS);
        if recent.count() >= limit {
            entry.locked_until = now + LOCKOUT_MS;
        }
        None
    }

    fn rule(&self) -> AttemptRule {
        let [window, lockout] = [WINDOW_MS, LOCKOUT_MS].map(Duration::from_millis);
        AttemptRule { limit: self.limit, window, lockout }
    }

    /// Others know that attempts from there fail at once, for so long.
    fn lock_out(&mut self, scope: LimitScope, address: IpAddr, now: u64, left: Duration) {
        let place = self.room(place(scope, address), now);
        let left = u64::try_from(left.as_millis()).unwrap_or(LOCKOUT_MS).min(LOCKOUT_MS);
        let entry = self.entries.entry(place).or_default();
        entry.locked_until = entry.locked_until.max(now + left);
    }

    /// An attempt has succeeded: what failed before in this scope is forgotten.
    fn succeeded(&mut self, scope: LimitScope, address: IpAddr, now: u64) {
        self.entries.remove(&place(scope, address));
        self.forget(now);
    }

    /// Forgets what is over, a little at a time, so that there is nobody in the end when nobody fails.
    fn forget(&mut self, now: u64) {
        for _ in 0..LOOKS {
            let Some(oldest) = self.order.pop_front() else { return };
            match self.entries.get(&oldest).map(|entry| entry.is_over(now)) {
                Some(true) => _ = self.entries.remove(&oldest),
                Some(false) => self.order.push_back(oldest),
                None => {}
            }
        }
    }

    /// Addresses that are remembered.
    fn len(&self) -> usize {
        self.entries.len()
    }

    /// The place itself, if there is room for it, or one that it shares with others when all are locked out.
    fn room(&mut self, place: Place, now: u64) -> Place {
        if self.entries.contains_key(&place) {
            return place;
        }
        let mut looks = 0;
        while self.entries.len() >= ENTRIES_MAX {
            let Some(oldest) = self.order.pop_front() else { break };
            if self.entries.get(&oldest).is_some_and(|entry| entry.locked_until > now) {
                self.order.push_back(oldest);
                looks += 1;
                if looks >= LOOKS_MAX {
                    // One for all whom nobody can tell apart any more; it is not in the order, and never goes.
                    return (place.0, None);
                }
            } else {
                self.entries.remove(&oldest);
            }
        }
        self.order.push_back(place);
        place
    }
}

/// The limiter of a node, and what the nodes count together.
pub struct Limiter {
    core: Mutex<Core>,
    shared: Option<SharedAttempts>,
    /// Addresses that are remembered: mostly none, and then nobody waits for the lock.
    known: AtomicUsize,
    /// Attempts that failed at once.
    refused: AtomicUsize,
}

impl Limiter {
    /// So many failures lead to a lockout, on whichever nodes they were; none = never.
    #[must_use]
    pub fn new(limit: usize, shared: Option<SharedAttempts>) -> Self {
        Self {
            core: Mutex::new(Core::new(limit)),
            shared: shared.filter(|_| limit > 0),
            known: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
        }
    }

    /// Attempts that failed at once.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// Somebody has failed.
    #[must_use]
    pub fn knows_any(&self) -> bool {
        self.known.load(Ordering::Relaxed) > 0
    }

    /// How long attempts from there still fail at once.
    #[must_use]
    pub fn locked(&self, scope: LimitScope, address: IpAddr) -> Option<Duration> {
        if !self.knows_any() {
            return None;
        }
        self.core().locked(scope, address, now()).map(Duration::from_millis)
    }

    /// An attempt has failed; answers how long it will be no use to try again, if it is none. The other nodes are asked only when this one
    /// does not know it.
    pub async fn failed(&self, scope: LimitScope, address: IpAddr) -> Option<Duration> {
        let mut locked = self.failed_here(scope, address);
        if locked.is_none()
            && let Some(shared) = &self.shared
            && let Some(place) = place(scope, address).1
        {
            let rule = self.core().rule();
            locked = shared.failed(scope.as_str(), place, rule).await;
            if let Some(left) = locked {
                self.core().lock_out(scope, address, now(), left);
            }
        }
        if locked.is_some() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        locked
    }

    fn failed_here(&self, scope: LimitScope, address: IpAddr) -> Option<Duration> {
        let mut core = self.core();
        let locked = core.failed(scope, address, now());
        self.known.store(core.len(), Ordering::Relaxed);
        locked.map(Duration::from_millis)
    }

    /// An attempt has succeeded.
    pub async fn succeeded(&self, scope: LimitScope, address: IpAddr) {
        if !self.knows_any() {
            return;
        }
        let was_known = {
            let mut core = self.core();
            let was_known = core.entries.contains_key(&place(scope, address));
            core.succeeded(scope, address, now());
            self.known.store(core.len(), Ordering::Relaxed);
            was_known
        };
        if let (true, Some(shared), (_, Some(place))) = (was_known, &self.shared, place(scope, address)) {
            shared.succeeded(scope.as_str(), place).await;
        }
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Time that no clock change moves, in milliseconds.
fn now() -> u64 {
    u64::try_from(uptime().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn fail(core: &mut Core, times: usize, now: u64) {
        for _ in 0..times {
            assert_eq!(core.failed(LimitScope::Http, A, now), None);
        }
    }

    #[test]
    fn ten_failures_in_a_minute_lock_out_for_five() {
        let mut core = Core::new(10);
        fail(&mut core, 10, 1_000);
        assert_eq!(core.failed(LimitScope::Http, A, 1_000), Some(300_000));
        // Attempts during it do not extend it.
        assert_eq!(core.failed(LimitScope::Http, A, 300_999), Some(1));
        assert_eq!(core.locked(LimitScope::Http, A, 301_000), None);
        // After it all begins anew.
        fail(&mut core, 10, 301_000);
        assert!(core.failed(LimitScope::Http, A, 301_000).is_some());
    }

    #[test]
    fn slow_failures_lock_nobody_out() {
        let mut core = Core::new(10);
        for minute in 0..20 {
            fail(&mut core, 9, 1 + minute * WINDOW_MS);
        }
    }

    #[test]
    fn scopes_and_addresses_are_independent_and_success_clears_one() {
        let mut core = Core::new(10);
        fail(&mut core, 9, 1);
        core.succeeded(LimitScope::DeviceToken, A, 1);
        core.succeeded(LimitScope::Http, B, 1);
        fail(&mut core, 1, 1);
        assert!(core.locked(LimitScope::Http, A, 1).is_some());
        assert_eq!(core.locked(LimitScope::SharedSecret, A, 1), None);
        assert_eq!(core.locked(LimitScope::Http, B, 1), None);
        core.succeeded(LimitScope::Http, A, 1);
        assert_eq!(core.locked(LimitScope::Http, A, 1), None);
        fail(&mut core, 9, 1);
    }

    #[test]
    fn one_network_of_ipv6_is_one_client() {
        let mut core = Core::new(10);
        for host in 0..10_u128 {
            let address = Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) + host).into();
            assert_eq!(core.failed(LimitScope::Http, address, 1), None);
        }
        let other: IpAddr = "2001:db8::ffff:1".parse().unwrap();
        assert!(core.locked(LimitScope::Http, other, 1).is_some());
        assert_eq!(core.locked(LimitScope::Http, "2001:db8:0:1::1".parse().unwrap(), 1), None);
    }

    /// So that nobody who is right waits for the lock once nobody fails any more.
    #[test]
    fn what_is_over_is_forgotten() {
        let mut core = Core::new(10);
        let address = |number: u32| IpAddr::from(number.to_be_bytes());
        for number in 0..100 {
            core.failed(LimitScope::Http, address(number), 1);
        }
        fail(&mut core, 10, 1);
        for at in [WINDOW_MS, WINDOW_MS + 1, LOCKOUT_MS, LOCKOUT_MS + 1] {
            for _ in 0..100 {
                core.succeeded(LimitScope::Http, B, at);
            }
            let left = if at <= WINDOW_MS { 101 } else { usize::from(at <= LOCKOUT_MS) };
            assert_eq!(core.len(), left, "{at}");
        }
        assert!(core.order.is_empty());
        // Nor does it grow by one who is wrong and right in turns.
        for _ in 0..1_000 {
            core.failed(LimitScope::Http, A, 1);
            core.succeeded(LimitScope::Http, A, 1);
        }
        assert!(core.order.len() <= 2 && core.len() == 0);
    }

    #[test]
    fn a_limit_of_none_is_none() {
        let mut core = Core::new(0);
        fail(&mut core, 100, 1);
        assert_eq!(core.len(), 0);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_lockouts_are_not_pushed_out() {
        let mut core = Core::new(1);
        let address = |number: u32| IpAddr::from(number.to_be_bytes());
        for number in 0..20_000 {
            core.failed(LimitScope::Http, address(number), 1);
        }
        assert!(core.len() <= ENTRIES_MAX + 1, "{}", core.len());
        assert!(core.locked(LimitScope::Http, address(0), 2).is_some(), "the first is locked out still");
        assert!(
            core.locked(LimitScope::Http, address(19_999), 2).is_some(),
            "and so are those without a place"
        );
        // Once the lockouts are over, others have room.
        core.failed(LimitScope::Http, B, 400_000);
        assert!(core.locked(LimitScope::Http, B, 400_000).is_some() && core.len() <= ENTRIES_MAX + 1);
    }

    proptest! {
        /// As a plain list of failures would judge.
        #[test]
        fn the_window_is_exact(gaps in proptest::collection::vec(0..20_000_u64, 1..60)) {
            let mut core = Core::new(10);
            let (mut now, mut failures, mut locked_until) = (1, Vec::<u64>::new(), 0);
            for gap in gaps {
                now += gap;
                let expected = (now < locked_until).then(|| locked_until - now);
                prop_assert_eq!(core.failed(LimitScope::Http, A, now), expected);
                if expected.is_none() {
                    if locked_until > 0 { failures.clear(); locked_until = 0; }
                    failures.push(now);
                    if failures.iter().filter(|at| now - **at < WINDOW_MS).count() >= 10 { locked_until = now + LOCKOUT_MS; }
                }
            }
        }
    }
}
