//! What becomes of refresh tokens: a table, and families at random.

use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use proptest::prelude::*;

use super::{
    core::{State, Verdict, judge},
    *,
};
use crate::keyring::record::Time;

const NONE: Duration = Duration::ZERO;
const LEEWAY: Duration = Duration::from_secs(10);

fn now() -> Time {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn after(seconds: i64) -> Time {
    now() + TimeDelta::seconds(seconds)
}

fn revocation(cutoff: Option<i64>, until: Time) -> Revocation {
    let mark = Marker::new(b"k").mark(Kind::Family, "f");
    Revocation { kind: Kind::Family, mark, cutoff, expires_at: until.timestamp_millis(), of: None }
}

#[test]
fn the_table() {
    let begun = now().timestamp_millis();
    let fresh = State { expires_at: after(60), spent_at: None, begun };
    let spent = |ago: i64| State { spent_at: Some(after(-ago)), ..fresh };
    let late = State { expires_at: now(), ..fresh };
    let live = |cutoff| vec![revocation(cutoff, after(1))];
    for (state, revocations, leeway, expected) in [
        (fresh, vec![], NONE, Verdict::Spend),
        (late, vec![], NONE, Verdict::Expired),
        (spent(0), vec![], NONE, Verdict::Reused),
        (spent(9), vec![], LEEWAY, Verdict::Again),
        (spent(10), vec![], LEEWAY, Verdict::Reused),
        // By a clock that went back.
        (spent(-9), vec![], LEEWAY, Verdict::Again),
        (spent(-10), vec![], LEEWAY, Verdict::Reused),
        // A thief is known whenever they come.
        (State { expires_at: now(), ..spent(5) }, vec![], NONE, Verdict::Reused),
        (fresh, live(None), NONE, Verdict::Revoked),
        (spent(5), live(None), LEEWAY, Verdict::Revoked),
        (late, live(None), NONE, Verdict::Revoked),
        (fresh, live(Some(begun)), NONE, Verdict::Revoked),
        (fresh, live(Some(begun - 1)), NONE, Verdict::Spend),
        (fresh, vec![revocation(None, now())], NONE, Verdict::Spend),
    ] {
        assert_eq!(
            judge(&state, &revocations, now(), leeway),
            expected,
            "{state:?} {revocations:?} {leeway:?}"
        );
    }
}

/// A family as the database has it: what the transaction of an exchange does, without the database.
#[derive(Default)]
struct Family {
    tokens: Vec<State>,
    revoked: bool,
    given: usize,
}

impl Family {
    fn present(&mut self, index: usize, at: Time, leeway: Duration) -> Verdict {
        let revocations = if self.revoked { vec![revocation(None, after(1_000_000))] } else { vec![] };
        let verdict = judge(&self.tokens[index], &revocations, at, leeway);
        match verdict {
            Verdict::Spend => {
                self.tokens[index].spent_at = Some(at);
                self.tokens.push(State {
                    expires_at: at + TimeDelta::seconds(100),
                    spent_at: None,
                    begun: 0,
                });
                self.given += 1;
            }
            Verdict::Reused => self.revoked = true,
            Verdict::Again | Verdict::Expired | Verdict::Revoked => {}
        }
        verdict
    }
}

proptest! {
    /// Whoever presents what and when: at most one token of a family is unspent, nothing comes of a family that has ended, and a token gives
    /// at most one successor.
    #[test]
    fn a_family_has_one_live_token_at_most(
        steps in prop::collection::vec((any::<prop::sample::Index>(), 0_i64..60), 1..60),
        leeway in prop::sample::select(vec![0_u64, 10]),
    ) {
        let mut family = Family::default();
        family.tokens.push(State { expires_at: after(100), spent_at: None, begun: 0 });
        let mut at = now();
        for (index, pause) in steps {
            at += TimeDelta::seconds(pause);
            let was_revoked = family.revoked;
            let index = index.index(family.tokens.len());
            let was_spent = family.tokens[index].spent_at.is_some();
            let before = family.given;
            let verdict = family.present(index, at, Duration::from_secs(leeway));
            prop_assert!(!was_revoked || verdict == Verdict::Revoked);
            prop_assert!(!was_spent || family.given == before);
            prop_assert_eq!(family.tokens.iter().filter(|token| token.spent_at.is_none()).count(), 1);
            prop_assert_eq!(family.tokens.len(), family.given + 1);
        }
    }
}
