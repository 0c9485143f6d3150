//! Who refreshes tokens at their provider: a lease with a number, for so long as the question may take.
//!
//! The number is what counts: whoever was asleep past the end of their lease writes nothing once somebody else has had it. The row says
//! besides how often it has failed, so that a provider that is away is not asked by every reader. Pure: time is a parameter, in
//! milliseconds of the database's clock.

use uuid::Uuid;

/// Longest time for which somebody has a lease: a question to a provider, and the write after it.
pub const LEASE_MS: i64 = 20_000;
/// Longest pause after failures.
const PAUSE_MAX_MS: i64 = 60_000;

/// A lease that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Identity of the tokens.
    pub(crate) token: Uuid,
    /// Its number.
    pub(crate) fence: i64,
}

/// What the row of a lease says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeaseRow {
    /// Number of the last lease.
    pub fence: i64,
    /// Its end; 0 = nobody has it.
    pub held_until: i64,
    /// Refreshes that have failed since the last one that did not.
    pub failures: i64,
    /// Nobody tries before.
    pub retry_at: i64,
}

/// Whether a lease may be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may.
    Free,
    /// Somebody has it.
    Held,
    /// It has failed more than once, and is not tried again for so many milliseconds.
    Resting(i64),
}

impl LeaseRow {
    /// Whether a lease may be had now. What lies further ahead than anybody would have written was written by another clock.
    #[must_use]
    pub const fn standing(&self, now: i64) -> Standing {
        let (held, rest) = (self.held_until.saturating_sub(now), self.retry_at.saturating_sub(now));
        if held > 0 && held <= LEASE_MS {
            Standing::Held
        } else if rest > 0 && rest <= PAUSE_MAX_MS {
            Standing::Resting(rest)
        } else {
            Standing::Free
        }
    }

    /// The row once somebody has taken the lease; why not, otherwise. Numbers go by time, so that they go on where a row was removed.
    ///
    /// # Errors
    /// It may not be had.
    pub fn taken(before: Option<&Self>, now: i64) -> Result<Self, Standing> {
        let before = before.copied().unwrap_or_default();
        match before.standing(now) {
            Standing::Free => Ok(Self {
                fence: before.fence.saturating_add(1).max(now),
                held_until: now.saturating_add(LEASE_MS),
                ..before
            }),
            other @ (Standing::Held | Standing::Resting(_)) => Err(other),
        }
    }

    /// The row once the holder has failed. A first failure may be chance, and the next reader may try again at once.
    #[must_use]
    pub fn failed(&self, now: i64) -> Self {
        let failures = self.failures.max(0).saturating_add(1);
        let doublings = u32::try_from(failures.saturating_sub(2).min(16)).unwrap_or(0);
        let pause = if failures < 2 { 0 } else { (1_000_i64 << doublings).min(PAUSE_MAX_MS) };
        Self { held_until: 0, failures, retry_at: now.saturating_add(pause), ..*self }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_lease_is_had_by_one_until_it_ends() {
        let first = LeaseRow::taken(None, 1_000_000).unwrap();
        assert_eq!((first.fence, first.held_until), (1_000_000, 1_020_000));
        for (later, standing) in
            [(0, Standing::Held), (19_999, Standing::Held), (20_000, Standing::Free), (-1, Standing::Free)]
        {
            assert_eq!(first.standing(1_000_000 + later), standing, "{later}");
        }
        assert_eq!(LeaseRow::taken(Some(&first), 1_000_001), Err(Standing::Held));
        let second = LeaseRow::taken(Some(&first), 1_020_000).unwrap();
        assert!(second.fence > first.fence);
        // The clock was set back.
        let third = LeaseRow::taken(Some(&second), 5_000).unwrap();
        assert_eq!((third.fence, third.held_until), (second.fence + 1, 25_000));
    }

    #[test]
    fn failures_make_pauses() {
        let mut row = LeaseRow::taken(None, 0).unwrap();
        let mut pauses = Vec::new();
        for _ in 0..10 {
            row = row.failed(100);
            pauses.push(row.retry_at - 100);
        }
        assert_eq!(pauses, [0, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]);
        assert_eq!(row.standing(100), Standing::Resting(60_000));
        assert_eq!(row.standing(60_100), Standing::Free);
        assert_eq!(row.standing(0), Standing::Free, "a pause of another clock");
        assert_eq!(LeaseRow { failures: i64::MAX, ..row }.failed(0).failures, i64::MAX);
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Take,
        Fail(usize),
        End(usize),
        Write(usize),
        Pass(i64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => Just(Step::Take),
            1 => (0..8_usize).prop_map(Step::Fail),
            1 => (0..8_usize).prop_map(Step::End),
            2 => (0..8_usize).prop_map(Step::Write),
            3 => (-40_000..40_000_i64).prop_map(Step::Pass),
        ];
        proptest::collection::vec(step, 1..60)
    }

    proptest! {
        /// Whatever clocks do and whoever sleeps: only the one who was given the last lease writes, and once.
        #[test]
        fn only_the_last_holder_writes(steps in steps()) {
            let (mut now, mut row, mut given) = (1_700_000_000_000_i64, None::<LeaseRow>, Vec::<i64>::new());
            let mut written = 0_usize;
            for step in steps {
                let of = |number: usize| given.get(given.len().wrapping_sub(1 + number)).copied();
                let is_holder = |fence: Option<i64>| fence.is_some() && row.map(|row| row.fence) == fence;
                match step {
                    Step::Take => if let Ok(taken) = LeaseRow::taken(row.as_ref(), now) {
                        prop_assert!(taken.standing(now) == Standing::Held);
                        if let Some(before) = row { prop_assert!(taken.fence > before.fence); }
                        given.push(taken.fence);
                        row = Some(taken);
                    },
                    Step::Fail(number) => if is_holder(of(number)) { row = row.map(|row| row.failed(now)); },
                    Step::End(number) | Step::Write(number) => {
                        let fence = of(number);
                        if is_holder(fence) {
                            prop_assert_eq!(fence, given.last().copied());
                            row = None;
                            written += 1;
                        }
                    }
                    Step::Pass(by) => now += by,
                }
            }
            prop_assert!(written <= given.len());
        }
    }
}
