//! Operations, by key and kind. Keys are many and labels dear: the first so many that are used have series of their own, the rest share one.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;

use super::page::{Page, merge};
use crate::http::table::ROUTES;

/// What the keys share that have no series of their own; no key can have this name.
pub(super) const OTHER: &str = "_other";

pub(super) struct Operations {
    most: usize,
    /// Read without a lock; grows by copies, which happens once a key.
    named: ArcSwap<HashMap<String, Arc<Cells>>>,
    growing: Mutex<()>,
    other: Cells,
}

/// A pair a route: done, failed.
struct Cells(Box<[[AtomicU64; 2]]>);

impl Cells {
    fn new() -> Self {
        Self(std::iter::repeat_with(Default::default).take(ROUTES.len()).collect())
    }

    fn add(&self, place: usize, (done, failed): (usize, usize)) {
        let Some([all_done, all_failed]) = self.0.get(place) else { return };
        for (counter, number) in [(all_done, done), (all_failed, failed)] {
            if number > 0 {
                counter.fetch_add(u64::try_from(number).unwrap_or(0), Ordering::Relaxed);
            }
        }
    }
}

impl Operations {
    pub(super) fn new(most: usize) -> Self {
        Self { most, named: ArcSwap::default(), growing: Mutex::default(), other: Cells::new() }
    }

    /// How many keys have series of their own.
    pub(super) const fn most(&self) -> usize {
        self.most
    }

    /// Counts operations with a key, if it is one.
    pub(super) fn count(
        &self,
        key: &str,
        place: usize,
        numbers: (usize, usize),
        is_key: impl FnOnce() -> bool,
    ) {
        let named = self.named.load();
        if let Some(cells) = named.get(key) {
            return cells.add(place, numbers);
        }
        if !is_key() {
            return;
        }
        if named.len() >= self.most {
            return self.other.add(place, numbers);
        }
        self.grow(key);
        match self.named.load().get(key) {
            Some(cells) => cells.add(place, numbers),
            None => self.other.add(place, numbers),
        }
    }

    fn grow(&self, key: &str) {
        let _growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let named = self.named.load_full();
        if named.len() < self.most && !named.contains_key(key) {
            let mut grown = HashMap::clone(&named);
            grown.insert(key.to_owned(), Arc::new(Cells::new()));
            self.named.store(Arc::new(grown));
        }
    }

    /// Makes room: keys that are gone give up their series once there is no other left.
    pub(super) fn prune(&self, is_key: impl Fn(&str) -> bool) {
        let _growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let named = self.named.load_full();
        if self.most > 0 && named.len() >= self.most {
            let kept = named.iter().filter(|(key, _)| is_key(key));
            self.named.store(Arc::new(kept.map(|(key, cells)| (key.clone(), Arc::clone(cells))).collect()));
        }
    }

    pub(super) fn write(&self, page: &mut Page) {
        let named = self.named.load_full();
        let mut counters = Vec::new();
        let keys = named.iter().map(|(key, cells)| (key.as_str(), &**cells));
        for (key, cells) in keys.chain([(OTHER, &self.other)]) {
            for (route, pair) in ROUTES.iter().zip(&cells.0) {
                for (outcome, counter) in ["ok", "failed"].into_iter().zip(pair) {
                    let count = counter.load(Ordering::Relaxed);
                    if count > 0 {
                        let labels = vec![("key", key), ("operation", route.event), ("outcome", outcome)];
                        counters.push((labels, count));
                    }
                }
            }
        }
        merge(&mut counters);
        let help =
            "Operations with keys, each item of a batch; _other are all keys without series of their own.";
        page.counters("claviger_operations_total", help, counters);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(operations: &Operations) -> Vec<(String, u64)> {
        let sum = |cells: &Cells| cells.0.iter().flatten().map(|cell| cell.load(Ordering::Relaxed)).sum();
        let named = operations.named.load_full();
        let mut all: Vec<(String, u64)> =
            named.iter().map(|(key, cells)| (key.clone(), sum(cells))).collect();
        all.sort();
        all.push((OTHER.to_owned(), sum(&operations.other)));
        all
    }

    #[test]
    fn only_so_many_keys_have_series_of_their_own() {
        let operations = Operations::new(2);
        for key in ["a", "b", "c", "a", "c"] {
            operations.count(key, 0, (1, 2), || true);
        }
        operations.count("made up", 0, (1, 0), || false);
        let expected = [("a", 6), ("b", 3), (OTHER, 6)].map(|(key, count)| (key.to_owned(), count));
        assert_eq!(numbers(&operations), expected);
        operations.prune(|key| key == "b");
        operations.count("c", 0, (1, 0), || true);
        let expected = [("b", 3), ("c", 1), (OTHER, 6)].map(|(key, count)| (key.to_owned(), count));
        assert_eq!(numbers(&operations), expected);
    }

    #[test]
    fn without_labels_all_keys_are_one() {
        let operations = Operations::new(0);
        operations.count("a", 0, (1, 0), || true);
        operations.prune(|_| true);
        assert_eq!(numbers(&operations), [(OTHER.to_owned(), 1)]);
    }
}
