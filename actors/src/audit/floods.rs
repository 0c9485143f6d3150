//! Failures of people that nobody knows, many at a time.
//!
//! Whoever may knock without a credential must not be able to fill the log: of the same failure from the same address, the first is
//! recorded at once and the others are counted, and of too many addresses only their number is.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

/// The others are told together after this time.
const WINDOW: Duration = Duration::from_secs(10);
/// Failures that are kept apart.
const KEPT_APART: usize = 1_000;
/// Records that such failures may cause in a second.
const AT_ONCE: u32 = 100;

/// Failures of one kind from one address; of many addresses when there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flood {
    /// Where they came from.
    pub address: Option<IpAddr>,
    /// The problem's code.
    pub code: &'static str,
}

#[derive(Debug)]
struct Counted {
    since: Instant,
    more: u64,
}

/// Counts them.
#[derive(Debug, Default)]
pub struct Floods {
    counted: HashMap<Flood, Counted>,
    second: Option<(Instant, u32)>,
}

impl Floods {
    /// `true` when this one is to be recorded by itself; otherwise it has been counted.
    pub fn admit(&mut self, flood: Flood, now: Instant) -> bool {
        if let Some(counted) = self.counted.get_mut(&flood) {
            counted.more += 1;
            return false;
        }
        let is_scarce = self.counted.len() >= KEPT_APART || !self.has_room(now);
        if is_scarce {
            let other = Flood { address: None, ..flood };
            self.counted.entry(other).or_insert(Counted { since: now, more: 0 }).more += 1;
            return false;
        }
        self.counted.insert(flood, Counted { since: now, more: 0 });
        true
    }

    fn has_room(&mut self, now: Instant) -> bool {
        let (since, count) = self.second.get_or_insert((now, 0));
        if now.duration_since(*since) >= Duration::from_secs(1) {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count <= AT_ONCE
    }

    /// Those whose time is over, with how often they came after the first.
    pub fn over(&mut self, now: Instant) -> Vec<(Flood, u64)> {
        let mut over = Vec::new();
        self.counted.retain(|flood, counted| {
            let is_over = now.duration_since(counted.since) >= WINDOW;
            if is_over && counted.more > 0 {
                over.push((*flood, counted.more));
            }
            !is_over
        });
        over
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn flood(address: u32) -> Flood {
        Flood { address: Some(Ipv4Addr::from(address).into()), code: "unauthorized" }
    }

    #[test]
    fn the_first_is_recorded_and_the_others_are_counted() {
        let (mut floods, began) = (Floods::default(), Instant::now());
        assert!(floods.admit(flood(1), began));
        for _ in 0..1_000 {
            assert!(!floods.admit(flood(1), began));
        }
        assert!(floods.admit(flood(2), began), "another address");
        assert!(floods.admit(Flood { code: "token_expired", ..flood(1) }, began), "another failure");
        assert!(floods.over(began + WINDOW / 2).is_empty());
        assert_eq!(floods.over(began + WINDOW), [(flood(1), 1_000)]);
        assert!(floods.admit(flood(1), began + WINDOW), "a new window");
    }

    #[test]
    fn addresses_without_number_cause_few_records() {
        let (mut floods, began) = (Floods::default(), Instant::now());
        let admitted = (0..1_000_000).filter(|address| floods.admit(flood(*address), began)).count();
        assert_eq!(admitted, AT_ONCE as usize);
        let later = began + Duration::from_secs(1);
        let admitted =
            (0..1_000_000).filter(|address| floods.admit(flood(1_000_000 + address), later)).count();
        assert_eq!(admitted, AT_ONCE as usize);
        assert!(floods.counted.len() <= KEPT_APART + 1);
        let over = floods.over(later + WINDOW);
        assert_eq!(over.iter().map(|(_, more)| more).sum::<u64>(), 2_000_000 - 2 * u64::from(AT_ONCE));
    }
}
