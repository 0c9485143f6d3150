//! Which events are handed out, and from where to go on after a connection has broken. Pure.
//!
//! Events come in the order of their epochs, and several may be of one change. So when the first one of a change has come, everything
//! *before* that change is complete, and the change itself may not be: a client that is cut off goes on from the epoch before the last
//! one that it has seen, and leaves out what it has had.

use std::collections::BTreeSet;

use crate::frame::{Event, RING_SYNC};

/// What to do with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// Hand it out.
    New,
    /// It was handed out before.
    Repeated,
    /// It is not of the subscription that was asked for.
    Foreign,
}

/// What has been handed out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Feed {
    /// Everything up to here was handed out.
    position: Option<u64>,
    /// Change of the last event.
    latest: Option<u64>,
    /// Its events so far.
    seen: BTreeSet<(String, String, i64)>,
    is_live: bool,
}

impl Feed {
    /// That goes on from an epoch, if there is one.
    #[must_use]
    pub fn since(position: Option<u64>) -> Self {
        Self { position, latest: position, ..Self::default() }
    }

    /// What `sinceEpoch` is to say; `None` = from now on.
    #[must_use]
    pub const fn position(&self) -> Option<u64> {
        self.position
    }

    /// The subscription was confirmed: what comes now is of it.
    pub fn subscribed(&mut self, epoch: Option<u64>) {
        self.is_live = true;
        if self.position.is_none() {
            self.position = epoch;
            self.latest = epoch;
        }
    }

    /// There is no subscription any more.
    pub const fn cut(&mut self) {
        self.is_live = false;
    }

    /// Events that are handed out now are of the subscription.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.is_live
    }

    /// Takes note of an event.
    pub fn judge(&mut self, event: &Event) -> Judged {
        if !self.is_live {
            return Judged::Foreign;
        }
        let Some(epoch) = event.epoch else { return Judged::New };
        if event.name == RING_SYNC {
            // It stands for all before it, also where the history is another one now and its epochs are lower.
            (self.position, self.latest) = (Some(epoch), Some(epoch));
            self.seen.clear();
            return Judged::New;
        }
        let is_whole = self.position == self.latest;
        match self.latest {
            Some(latest) if epoch < latest || epoch == latest && is_whole => Judged::Repeated,
            Some(latest) if epoch == latest => {
                if self.seen.insert(event.identity()) {
                    Judged::New
                } else {
                    Judged::Repeated
                }
            }
            Some(_) | None => {
                self.position = Some(epoch.saturating_sub(1));
                self.latest = Some(epoch);
                self.seen.clear();
                self.seen.insert(event.identity());
                Judged::New
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn event(name: &str, epoch: u64, version: i64) -> Event {
        Event { name: name.to_owned(), epoch: Some(epoch), payload: json!({"name": "k", "version": version}) }
    }

    #[test]
    fn a_change_of_several_events_is_complete_only_with_the_next() {
        let mut feed = Feed::default();
        assert_eq!(feed.judge(&event("key.created", 9, 1)), Judged::Foreign);
        feed.subscribed(Some(7));
        assert_eq!(feed.position(), Some(7));
        assert_eq!(feed.judge(&event("key.rotated", 7, 1)), Judged::Repeated);
        assert_eq!(feed.judge(&event("key.compromised", 9, 1)), Judged::New);
        assert_eq!(feed.position(), Some(8));
        feed.cut();
        feed.subscribed(Some(8));
        assert_eq!(feed.judge(&event("key.compromised", 9, 1)), Judged::Repeated);
        assert_eq!(feed.judge(&event("key.rotated", 9, 2)), Judged::New);
        assert_eq!(feed.judge(&event("key.rotated", 9, 2)), Judged::Repeated);
        assert_eq!(feed.judge(&event("key.rotated", 12, 3)), Judged::New);
        assert_eq!(feed.position(), Some(11));
    }

    #[test]
    fn a_whole_ring_replaces_what_was_before_even_when_it_is_older() {
        let mut feed = Feed::since(Some(100));
        feed.subscribed(Some(100));
        assert_eq!(feed.judge(&event(RING_SYNC, 40, 0)), Judged::New);
        assert_eq!(feed.position(), Some(40));
        assert_eq!(feed.judge(&event("key.created", 40, 1)), Judged::Repeated);
        assert_eq!(feed.judge(&event("key.created", 41, 1)), Judged::New);
        let unlogged = Event { name: "health".to_owned(), epoch: None, payload: json!({}) };
        assert_eq!(feed.judge(&unlogged), Judged::New);
        assert_eq!(feed.judge(&unlogged), Judged::New);
        assert_eq!(feed.position(), Some(40));
    }

    /// Events of changes, some of which have several.
    fn history() -> impl Strategy<Value = Vec<Event>> {
        proptest::collection::vec((1_u64..4, 1_usize..4), 1..40).prop_map(|changes| {
            let (mut epoch, mut events) = (5, Vec::new());
            for (gap, count) in changes {
                epoch += gap;
                events.extend((0..count).map(|at| event("key.rotated", epoch, i64::try_from(at).unwrap())));
            }
            events
        })
    }

    proptest! {
        /// Wherever connections break, everything is handed out in order, once.
        #[test]
        fn nothing_is_missed_and_nothing_comes_twice(
            history in history(),
            lengths in proptest::collection::vec(0_usize..12, 0..40),
        ) {
            let mut feed = Feed::default();
            let mut handed_out = Vec::new();
            feed.subscribed(Some(5));
            let whole = usize::MAX;
            for length in lengths.into_iter().chain([whole]) {
                let since = feed.position().unwrap();
                let replay = history.iter().filter(|event| event.epoch > Some(since));
                for event in replay.take(length) {
                    if feed.judge(event) == Judged::New {
                        handed_out.push(event.clone());
                    }
                }
                feed.cut();
                prop_assert_eq!(feed.judge(&history[0]), Judged::Foreign);
                feed.subscribed(Some(since));
            }
            prop_assert_eq!(handed_out, history);
        }
    }
}
