//! How many revocations are of which key, so that whoever may revoke with one key leaves room to everybody else.

use std::{
    collections::HashMap,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use uuid::Uuid;

use super::{Kind, Revocation};

/// Stands for a key, in a fourth of the room.
pub(super) type Share = u32;
/// Of no key in particular.
const ANY: Share = 0;
/// Keys that are told apart; those beyond are counted together with what is of no key.
const KEYS_MAX: usize = 1_000_000;

#[derive(Default)]
pub(super) struct Shares(RwLock<Counted>);

#[derive(Default)]
struct Counted {
    shares: HashMap<Uuid, Share>,
    counts: Vec<AtomicUsize>,
}

impl Shares {
    /// What stands for a key.
    pub(super) fn share(&self, key: Option<Uuid>) -> Share {
        let Some(key) = key else { return ANY };
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).shares.get(&key).copied();
        if let Some(share) = known {
            return share;
        }
        let mut counted = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = counted.shares.get(&key) {
            return *share;
        }
        if counted.counts.len() >= KEYS_MAX {
            return ANY;
        }
        counted.counts.push(AtomicUsize::new(0));
        let share = Share::try_from(counted.counts.len()).unwrap_or(ANY);
        counted.shares.insert(key, share);
        share
    }

    /// How many are of a key.
    pub(super) fn count(&self, key: Uuid) -> usize {
        let counted = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let share = counted.shares.get(&key).copied().unwrap_or(ANY);
        counted.counter(share).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    pub(super) fn grow(&self, share: Share) {
        let counted = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counted.counter(share) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn shrink(&self, share: Share) {
        let counted = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counted.counter(share) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Counted {
    fn counter(&self, share: Share) -> Option<&AtomicUsize> {
        let index = usize::try_from(share).ok()?.checked_sub(1)?;
        self.counts.get(index)
    }
}

/// Room for a further revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// There is.
    Some,
    /// The key has as many as are left to all others.
    NotForKey,
    /// There are as many as a node may hold.
    None,
}

/// Judges a further revocation by how many there are, how many of them are of its key, and how many there may be.
///
/// What is of one key may be as many as are still free: one key alone takes half of all, two take a third each, and however many there
/// are, somebody with few always finds room. A version is one of few, and whoever revokes by it ends a flood; what concerns any key needs
/// a right of its own, so cut-offs of that kind are always taken.
pub(super) fn room(revocation: &Revocation, (live, of_key): (usize, usize), max: usize) -> Room {
    match (revocation.kind, revocation.of) {
        (Kind::Version | Kind::Families, _) | (Kind::Family | Kind::Subject, None) => Room::Some,
        (Kind::Token, None) if live >= max => Room::None,
        (Kind::Token, None) => Room::Some,
        (Kind::Token | Kind::Family | Kind::Subject, Some(_)) if of_key >= max.saturating_sub(live) => {
            Room::NotForKey
        }
        (Kind::Token | Kind::Family | Kind::Subject, Some(_)) => Room::Some,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::{Marker, Revocations};

    fn key(number: u128) -> Option<Uuid> {
        Some(Uuid::from_u128(number))
    }

    fn revocation(kind: Kind, value: usize, of: Option<Uuid>) -> Revocation {
        let mark = Marker::new(b"s").mark(kind, &format!("{of:?} {value}"));
        Revocation { kind, mark, cutoff: (kind == Kind::Subject).then_some(0), expires_at: 60_000, of }
    }

    /// However many keys are flooded, one with few finds room, and so do those who may revoke of any.
    #[test]
    fn floods_of_some_keys_leave_room_to_the_others() {
        const MAX: usize = 1_000;
        for (floods, most) in [(1, 500), (2, 334), (9, 101), (50, 21)] {
            let revocations = Revocations::default();
            let ask = |one: &Revocation| {
                let of_key = one.of.map_or(0, |key| revocations.of_key(key));
                let room = room(one, (revocations.len(), of_key), MAX);
                if room == Room::Some {
                    revocations.add(one);
                }
                room
            };
            for number in 0..MAX {
                for flood in 1..=floods {
                    let kind = if number % 2 == 0 { Kind::Token } else { Kind::Subject };
                    ask(&revocation(kind, number, key(flood)));
                }
            }
            let of_first = revocations.of_key(key(1).unwrap());
            assert!(of_first <= most && of_first >= most / 2, "{floods} floods: {of_first}");
            assert!(revocations.len() < MAX);
            assert_eq!(ask(&revocation(Kind::Token, MAX, key(1))), Room::NotForKey);
            for kind in [Kind::Token, Kind::Subject, Kind::Family] {
                assert_eq!(ask(&revocation(kind, MAX, key(1_000))), Room::Some, "{floods} {kind:?}");
                assert_eq!(ask(&revocation(kind, MAX, None)), Room::Some, "{floods} {kind:?}");
            }
            assert_eq!(ask(&revocation(Kind::Version, MAX, key(1))), Room::Some);
            // What has expired makes room again.
            assert!(revocations.forget(61) > 0);
            assert_eq!(revocations.of_key(key(1).unwrap()), 0);
            assert_eq!(ask(&revocation(Kind::Token, MAX, key(1))), Room::Some);
        }
    }

    #[test]
    fn only_single_tokens_of_any_key_are_refused_at_the_end() {
        let full = |kind, of| room(&revocation(kind, 0, of), (1_000, 0), 1_000);
        assert_eq!(full(Kind::Token, None), Room::None);
        assert_eq!(full(Kind::Token, key(1)), Room::NotForKey);
        for kind in [Kind::Subject, Kind::Family, Kind::Version] {
            assert_eq!(full(kind, None), Room::Some);
        }
    }
}
