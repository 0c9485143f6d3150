//! Versions that could not be used although the ring was read anew for them. Pure.
//!
//! A value under a version that this node does not know may be one that another node has made a moment ago, so the ring is read anew. While
//! a version is suspended that would be so at each read of each value; once a second is often enough, since every node looks as often by itself.

use std::{collections::HashMap, time::Duration};

use claviger_entity::Kid;

use crate::keyring::Epoch;

/// How long the answer for one ring is good.
const GOOD_FOR: Duration = Duration::from_secs(1);
/// Versions that are remembered; a key has this many after decades.
const KIDS_MAX: usize = 1_000;

#[derive(Default)]
pub(super) struct Refused(HashMap<Kid, (Epoch, Duration)>);

impl Refused {
    /// The ring of this epoch has been found not to let a version be used, a moment ago; `now` as uptime.
    pub(super) fn knows(&self, kid: &Kid, epoch: Epoch, now: Duration) -> bool {
        self.0.get(kid).is_some_and(|(at, since)| *at == epoch && now.saturating_sub(*since) < GOOD_FOR)
    }

    /// It has been found so just now.
    pub(super) fn note(&mut self, kid: &Kid, epoch: Epoch, now: Duration) {
        if self.0.len() >= KIDS_MAX && !self.0.contains_key(kid) {
            self.0.clear();
        }
        self.0.insert(kid.clone(), (epoch, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_good_for_one_ring_and_a_moment() {
        let (mut refused, kid, other) = (Refused::default(), "a".parse().unwrap(), "b".parse().unwrap());
        let (epoch, now) = (Epoch(7), Duration::from_secs(100));
        assert!(!refused.knows(&kid, epoch, now));
        refused.note(&kid, epoch, now);
        assert!(refused.knows(&kid, epoch, now) && refused.knows(&kid, epoch, now + GOOD_FOR / 2));
        assert!(!refused.knows(&kid, Epoch(8), now), "the version may have been resumed");
        assert!(!refused.knows(&kid, epoch, now + GOOD_FOR) && !refused.knows(&other, epoch, now));
        for number in 0..KIDS_MAX * 2 {
            refused.note(&format!("k{number}").parse().unwrap(), epoch, now);
            assert!(refused.0.len() <= KIDS_MAX);
        }
    }
}
