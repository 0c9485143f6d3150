//! The same use of a key again and again, which is what most are: told of once for several, so that threads seldom meet at what they
//! all write to.

use std::{
    cell::RefCell,
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use super::habits::KeyUse;

/// Uses that are kept back at most: they may never be told of, when no other follows.
const MOST: u64 = 16;
/// How long they are.
const LONGEST: Duration = Duration::from_secs(1);
/// Different uses that a thread tells apart.
const PLACES: usize = 64;

thread_local! {
    static REPEATS: RefCell<Repeats> = RefCell::default();
}

/// So many uses are to be told of now, by whoever is known by this number; `None` when none is.
pub(super) fn due(whose: usize, used: &KeyUse<'_>, now: Duration) -> Option<u64> {
    REPEATS.with_borrow_mut(|repeats| {
        let KeyUse { key, principal, address, items, decrypts } = used;
        let name = repeats.hasher.hash_one((whose, key, principal, address, decrypts));
        repeats.due(name, *items, now)
    })
}

/// What a thread has kept back.
#[derive(Default)]
struct Repeats {
    hasher: RandomState,
    places: Vec<Kept>,
}

/// Uses that are the same but for their time.
#[derive(Clone, Copy, Default)]
struct Kept {
    name: u64,
    items: u64,
    since: Duration,
}

impl Repeats {
    fn due(&mut self, name: u64, items: u64, now: Duration) -> Option<u64> {
        self.places.resize(PLACES, Kept::default());
        let place = usize::try_from(name % PLACES as u64).unwrap_or(0);
        let Some(kept) = self.places.get_mut(place) else { return Some(items) };
        if kept.name != name {
            *kept = Kept { name, items: 0, since: now };
            return Some(items);
        }
        kept.items = kept.items.saturating_add(items);
        if kept.items < MOST && now.saturating_sub(kept.since) < LONGEST {
            return None;
        }
        kept.since = now;
        Some(std::mem::take(&mut kept.items))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_new_use_is_told_of_at_once_and_the_same_one_later() {
        let mut repeats = Repeats::default();
        let at = Duration::from_millis;
        assert_eq!(repeats.due(1, 1, at(5_000)), Some(1));
        assert_eq!(repeats.due(1, 1, at(5_001)), None);
        assert_eq!(repeats.due(2, 7, at(5_002)), Some(7), "another one");
        assert_eq!(repeats.due(1, 2, at(6_000)), Some(3), "it is a second");
        assert_eq!(repeats.due(1, 15, at(6_001)), None);
        assert_eq!(repeats.due(1, 1, at(6_002)), Some(16), "there are many");
        assert_eq!(repeats.due(1, 1_000, at(6_003)), Some(1_000));
    }

    proptest! {
        /// Of one use all but the last few are told of, and never one too many.
        #[test]
        fn few_are_kept_back(uses in proptest::collection::vec((1..40_u64, 0..700_u64), 1..200)) {
            let (mut repeats, mut now) = (Repeats::default(), Duration::ZERO);
            let (mut all, mut told) = (0, 0);
            for (items, pause) in uses {
                now += Duration::from_millis(pause);
                all += items;
                told += repeats.due(7, items, now).unwrap_or(0);
                prop_assert!(told <= all && all - told < MOST);
            }
        }
    }
}
