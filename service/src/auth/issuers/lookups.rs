//! When an issuer is asked for its keys, and whether a caller waits for it. Pure: time is a parameter, measured from the start of the machine.

use std::time::Duration;

/// Bounds of how long an issuer may say that its keys hold: a shorter time would be a load, a longer one would keep what it has withdrawn.
const AGE_MIN: Duration = Duration::from_secs(300);
const AGE_MAX: Duration = Duration::from_secs(24 * 3_600);

/// What was asked of an issuer, and when.
#[derive(Debug)]
pub(super) struct LookUps {
    cooldown: Duration,
    max_stale: Duration,
    /// When the last one began.
    begun: Option<Duration>,
    running: bool,
    failed: bool,
    /// When the next one is due.
    due: Duration,
}

/// What becomes of a caller whose key is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// A look-up begins for them.
    Begin,
    /// One is under way.
    Wait,
    /// The issuer was asked a moment ago, and did not know the key.
    Unknown,
    /// The issuer was asked a moment ago, and said nothing that could be used.
    Away,
}

impl LookUps {
    /// Nothing was asked yet; the first look-up is due.
    pub(super) const fn new(cooldown: Duration, max_stale: Duration) -> Self {
        Self { cooldown, max_stale, begun: None, running: false, failed: false, due: Duration::ZERO }
    }

    /// Somebody needs a key that is not there.
    pub(super) fn wish(&mut self, now: Duration) -> Wish {
        if self.running {
            return Wish::Wait;
        }
        if self.begun.is_some_and(|begun| now < begun + self.cooldown) {
            return if self.failed { Wish::Away } else { Wish::Unknown };
        }
        self.begin(now);
        Wish::Begin
    }

    /// Time until the next look-up that nobody has to wish for.
    pub(super) fn wait(&self, now: Duration) -> Duration {
        if self.running { Duration::ZERO } else { self.due.saturating_sub(now) }
    }

    /// One begins.
    pub(super) fn begin(&mut self, now: Duration) {
        self.begun = Some(now);
        self.running = true;
    }

    /// When the one that is under way began.
    pub(super) fn begun(&self) -> Duration {
        self.begun.unwrap_or_default()
    }

    /// It ended: with keys, and how long the issuer says that they hold, or without.
    pub(super) fn end(&mut self, found: Option<Option<Duration>>) {
        self.running = false;
        self.failed = found.is_none();
        let next = match found {
            // What is not kept for long is asked for while it is.
            Some(age) => {
                age.unwrap_or(AGE_MIN).clamp(AGE_MIN, AGE_MAX).min(self.max_stale / 2).max(self.cooldown)
            }
            None => self.cooldown,
        };
        self.due = self.begun() + next;
    }

    /// The last one brought nothing.
    pub(super) const fn is_failed(&self) -> bool {
        self.failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_flood_of_wishes_is_one_look_up_a_cooldown() {
        let mut lookups = LookUps::new(at(30), at(86_400));
        assert_eq!(lookups.wait(at(1_000)), at(0), "the first one is due at once");
        let mut begun = 0;
        for second in 1_000..1_300 {
            for _ in 0..100 {
                if lookups.wish(at(second)) == Wish::Begin {
                    begun += 1;
                    assert_eq!(lookups.wish(at(second)), Wish::Wait);
                    lookups.end(Some(None));
                }
            }
        }
        assert_eq!(begun, 10);
    }

    #[test]
    fn a_refusal_says_whether_the_issuer_spoke() {
        let mut lookups = LookUps::new(at(30), at(86_400));
        assert_eq!(lookups.wish(at(1)), Wish::Begin);
        lookups.end(None);
        assert_eq!((lookups.wish(at(30)), lookups.is_failed()), (Wish::Away, true));
        assert_eq!(lookups.wait(at(1)), at(30));
        assert_eq!(lookups.wish(at(31)), Wish::Begin);
        lookups.end(Some(None));
        assert_eq!((lookups.wish(at(60)), lookups.is_failed()), (Wish::Unknown, false));
    }

    #[test]
    fn keys_are_asked_for_again_within_bounds() {
        for (cooldown, max_stale, said, next) in [
            (30, 86_400, None, 300),
            (30, 86_400, Some(0), 300),
            (30, 86_400, Some(3_600), 3_600),
            (30, 864_000, Some(9_999_999), 86_400),
            (30, 86_400, Some(9_999_999), 43_200),
            (1, 10, Some(3_600), 5),
            (60, 10, Some(3_600), 60),
        ] {
            let mut lookups = LookUps::new(at(cooldown), at(max_stale));
            lookups.begin(at(100));
            assert_eq!(lookups.wait(at(100)), at(0), "one that is under way is not slept on");
            lookups.end(Some(said.map(at)));
            assert_eq!(lookups.wait(at(100)), at(next), "{said:?}");
        }
    }
}
