//! Who refreshes tokens at their provider: a lease with a number, for so long as the question may take.
//!
//! The number is what counts: whoever was asleep past the end of their lease ends no tokens once somebody else has had it. What a provider
//! has given is written by the state of the tokens alone: as long as that is the one that was refreshed, there is no better pair. The row says
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
    /// Nobody has ended the one before.
    pub(crate) is_inherited: bool,
}

impl Lease {
    /// Whoever had it before has not ended it, and may be about to write what they were given.
    #[must_use]
    pub const fn is_inherited(&self) -> bool {
        self.is_inherited
    }
}

/// What a lease is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To ask a provider.
    Ask,
    /// To delete tokens that are of no use any more: a pause after failures is nothing to wait for.
    End,
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
    pub fn taken(before: Option<&Self>, now: i64, purpose: Purpose) -> Result<Self, Standing> {
        let before = before.copied().unwrap_or_default();
        match (before.standing(now), purpose) {
            (Standing::Free, _) | (Standing::Resting(_), Purpose::End) => Ok(Self {
                fence: before.fence.saturating_add(1).max(now),
                held_until: now.saturating_add(LEASE_MS),
                ..before
            }),
            (other @ Standing::Held, _) | (other @ Standing::Resting(_), Purpose::Ask) => Err(other),
        }
    }

    /// Nobody has ended the last lease: its holder is late, or dead.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.held_until != 0
    }

    /// The row while the holder still tries to write what they were given.
    #[must_use]
    pub const fn renewed(&self, now: i64) -> Self {
        Self { held_until: now.saturating_add(LEASE_MS), ..*self }
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

    use super::{
        Purpose::{Ask, End},
        *,
    };

    #[test]
    fn a_lease_is_had_by_one_until_it_ends() {
        let first = LeaseRow::taken(None, 1_000_000, Ask).unwrap();
        assert_eq!((first.fence, first.held_until), (1_000_000, 1_020_000));
        assert!(first.is_open() && !LeaseRow::default().is_open() && !first.failed(1_000_000).is_open());
        for (later, standing) in
            [(0, Standing::Held), (19_999, Standing::Held), (20_000, Standing::Free), (-1, Standing::Free)]
        {
            assert_eq!(first.standing(1_000_000 + later), standing, "{later}");
        }
        for purpose in [Ask, End] {
            assert_eq!(LeaseRow::taken(Some(&first), 1_000_001, purpose), Err(Standing::Held));
        }
        // Whoever still writes keeps it, and its number.
        let renewed = first.renewed(1_019_000);
        assert_eq!((renewed.fence, renewed.held_until), (first.fence, 1_039_000));
        assert_eq!(LeaseRow::taken(Some(&renewed), 1_038_999, Ask), Err(Standing::Held));
        let second = LeaseRow::taken(Some(&first), 1_020_000, Ask).unwrap();
        assert!(second.fence > first.fence);
        // The clock was set back.
        let third = LeaseRow::taken(Some(&second), 5_000, Ask).unwrap();
        assert_eq!((third.fence, third.held_until), (second.fence + 1, 25_000));
    }

    #[test]
    fn failures_make_pauses() {
        let mut row = LeaseRow::taken(None, 0, Ask).unwrap();
        let mut pauses = Vec::new();
        for _ in 0..10 {
            row = row.failed(100);
            pauses.push(row.retry_at - 100);
        }
        assert_eq!(pauses, [0, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]);
        assert_eq!(row.standing(100), Standing::Resting(60_000));
        assert_eq!(LeaseRow::taken(Some(&row), 100, Ask), Err(Standing::Resting(60_000)));
        assert!(LeaseRow::taken(Some(&row), 100, End).is_ok(), "what is of no use ends all the same");
        assert_eq!(row.standing(60_100), Standing::Free);
        assert_eq!(row.standing(0), Standing::Free, "a pause of another clock");
        assert_eq!(LeaseRow { failures: i64::MAX, ..row }.failed(0).failures, i64::MAX);
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Take(Purpose),
        Renew(usize),
        Fail(usize),
        Release(usize),
        Delete(usize),
        Write(usize),
        Pass(i64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => Just(Step::Take(Ask)),
            1 => Just(Step::Take(End)),
            1 => (0..8_usize).prop_map(Step::Renew),
            1 => (0..8_usize).prop_map(Step::Fail),
            1 => (0..8_usize).prop_map(Step::Release),
            1 => (0..8_usize).prop_map(Step::Delete),
            2 => (0..8_usize).prop_map(Step::Write),
            3 => (-40_000..40_000_i64).prop_map(Step::Pass),
        ];
        proptest::collection::vec(step, 1..60)
    }

    proptest! {
        /// Whatever clocks do and whoever sleeps: only the last holder ends tokens, and what was given for a state is written by the first who comes
        /// with it, and by nobody once the state is another one.
        #[test]
        fn only_the_last_holder_ends_and_the_first_writes(steps in steps()) {
            let (mut now, mut row, mut state) = (1_700_000_000_000_i64, None::<LeaseRow>, 0_u32);
            // The number of each lease, and the state that its holder has seen.
            let mut given = Vec::<(i64, u32)>::new();
            for step in steps {
                let of = |number: usize| given.get(given.len().wrapping_sub(1 + number)).copied();
                let is_holder = |lease: Option<(i64, u32)>| lease.is_some() && row.map(|row| row.fence) == lease.map(|lease| lease.0);
                match step {
                    Step::Take(purpose) => if let Ok(taken) = LeaseRow::taken(row.as_ref(), now, purpose) {
                        prop_assert!(taken.standing(now) == Standing::Held);
                        if let Some(before) = row { prop_assert!(taken.fence > before.fence); }
                        given.push((taken.fence, state));
                        row = Some(taken);
                    },
                    Step::Renew(number) => if is_holder(of(number)) { row = row.map(|row| row.renewed(now)); },
                    Step::Fail(number) => if is_holder(of(number)) { row = row.map(|row| row.failed(now)); },
                    Step::Release(number) => if is_holder(of(number)) { row = None; },
                    Step::Delete(number) => {
                        let lease = of(number).filter(|lease| lease.1 == state);
                        if is_holder(lease) {
                            prop_assert_eq!(lease, given.last().copied());
                            (row, state) = (None, state + 1);
                        }
                    }
                    // As the transaction does: by the state, and it ends whatever lease there is.
                    Step::Write(number) => if of(number).is_some_and(|lease| lease.1 == state) { (row, state) = (None, state + 1); },
                    Step::Pass(by) => now += by,
                }
            }
            prop_assert!(usize::try_from(state).is_ok_and(|state| state <= given.len()));
        }
    }
}
