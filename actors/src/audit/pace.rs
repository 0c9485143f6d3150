//! Whether the writer looks around before it sleeps, and whoever waits for it before their thread does.
//!
//! That is worth its while only where what they wait for comes before they would be asleep. Where it takes longer, whoever looks around takes
//! the processor from those who could bring it.

use std::{
    cell::Cell,
    thread,
    time::{Duration, Instant},
};

/// How long it looks around for more.
const LINGER: Duration = Duration::from_micros(20);

/// How long whoever has handed over a group looks for its answer.
const LOOK: Duration = Duration::from_micros(15);
/// After an answer that took longer, the next one is not looked for.
const SOON: Duration = Duration::from_micros(40);

/// How soon the writer answers a thread.
pub(super) struct Answers {
    last: Cell<Duration>,
}

impl Answers {
    /// There was none yet.
    pub(super) const fn none() -> Self {
        Self { last: Cell::new(Duration::ZERO) }
    }

    /// Asks for it for a moment, if it may come as soon as the last one.
    pub(super) fn look<T>(&self, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
        if self.last.get() > SOON {
            return None;
        }
        let began = Instant::now();
        loop {
            let answer = ask();
            if answer.is_some() || began.elapsed() >= LOOK {
                return answer;
            }
            thread::yield_now();
        }
    }

    /// One took this long.
    pub(super) fn took(&self, time: Duration) {
        self.last.set(time);
    }
}

/// How close together groups come.
#[derive(Default)]
pub(super) struct Pace {
    /// Since when there has been nothing to do.
    idle_since: Option<Instant>,
    /// The last ones were closer together than it would look around.
    is_brisk: bool,
}

impl Pace {
    /// It looked at this time, and something had come.
    pub(super) fn came(&mut self, looked: Instant) {
        if let Some(since) = self.idle_since.take() {
            self.is_brisk = looked.saturating_duration_since(since) < LINGER;
        }
    }

    /// There is nothing to do: whether to look around for longer.
    pub(super) fn lingers(&mut self, now: Instant) -> bool {
        let since = *self.idle_since.get_or_insert(now);
        self.is_brisk && now.saturating_duration_since(since) < LINGER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_looked_for_while_answers_come_soon() {
        let answers = Answers::none();
        let mut asked = 0;
        let third = answers.look(|| {
            asked += 1;
            (asked == 3).then_some(asked)
        });
        assert!(third.is_none_or(|third| third == 3), "unless the machine was away for long");
        let began = Instant::now();
        assert_eq!(answers.look(|| None::<()>), None);
        assert!(began.elapsed() >= LOOK, "for a while, and no longer");
        answers.took(SOON + Duration::from_nanos(1));
        assert_eq!(answers.look(|| Some(())), None, "it would be in vain");
        answers.took(SOON);
        assert_eq!(answers.look(|| Some(())), Some(()));
    }

    /// Microseconds between two groups, and whether it looks around afterwards.
    #[test]
    fn it_looks_around_while_groups_come_close_together() {
        let mut pace = Pace::default();
        let mut now = Instant::now();
        assert!(!pace.lingers(now), "it has seen none");
        for (gap, expected) in [(500, false), (19, true), (1, true), (20, false), (300, false), (5, true)] {
            now += Duration::from_micros(gap);
            pace.came(now);
            now += Duration::from_micros(7);
            assert_eq!(pace.lingers(now), expected, "after {gap} µs");
            assert_eq!(pace.lingers(now + LINGER / 2), expected, "for a while");
            assert!(!pace.lingers(now + LINGER), "and no longer");
        }
    }
}
