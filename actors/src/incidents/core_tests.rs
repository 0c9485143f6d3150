use std::collections::{BTreeMap, BTreeSet};

use claviger_entity::{KeyName, VersionNumber};
use proptest::prelude::*;

use super::{
    core::{Ended, Move, Outcomes, Playbook, State, Step},
    target::Principal,
};
use crate::keyring::core::Exposure;

fn key(number: u32) -> KeyName {
    format!("k{number}").parse().unwrap()
}

fn playbook(keys: u32) -> Playbook {
    let version = VersionNumber::FIRST;
    let isolating = (0..keys).map(|number| Step::Suspend { key: key(number), version }).collect();
    let following = (0..keys).flat_map(|number| {
        [
            Step::Compromise { key: key(number), version, exposure: Exposure::Version },
            Step::Promote { key: key(number) },
            Step::RevokeFamilies { key: key(number) },
        ]
    });
    Playbook::new(isolating, following.collect())
}

/// A world in which doing something twice is the same as once, as the steps promise of the real one.
#[derive(Debug, Default, PartialEq, Eq)]
struct World {
    /// State of each key's version, as far as it has gone: it never goes back.
    versions: BTreeMap<String, u8>,
    marks: BTreeSet<String>,
}

impl World {
    fn apply(&mut self, step: &Step) {
        let mut reach = |key: &KeyName, rank: u8| {
            let version = self.versions.entry(key.to_string()).or_default();
            *version = (*version).max(rank);
        };
        if let Step::Suspend { key, .. } = step {
            reach(key, 1);
        } else if let Step::Compromise { key, .. } = step {
            reach(key, 2);
        } else {
            self.marks.insert(format!("{step:?}"));
        }
    }
}

/// Where a node dies.
#[derive(Debug, Clone, Copy)]
enum Crash {
    Before,
    BetweenStepAndOutcome,
    After,
    Never,
}

/// Runs a playbook by nodes that die where they are told, one after the other.
fn run(playbook: &Playbook, crashes: &[Crash]) -> (World, Outcomes, Vec<usize>) {
    let (mut world, mut over, mut order) = (World::default(), Outcomes::new(), Vec::new());
    let mut crashes = crashes.iter().copied().chain(std::iter::repeat(Crash::Never));
    // Whoever comes after a crash knows nothing but what was written.
    while let Some((place, step)) = playbook.next(&over, 0) {
        let crash = crashes.next().unwrap();
        if matches!(crash, Crash::Before) {
            continue;
        }
        world.apply(step);
        if matches!(crash, Crash::BetweenStepAndOutcome) {
            continue;
        }
        over.insert(place, Ended::Done);
        order.push(place);
        if matches!(crash, Crash::After) {
            continue;
        }
    }
    (world, over, order)
}

proptest! {
    /// Nodes may die at any line: it ends where it would have ended.
    #[test]
    fn a_playbook_ends_in_the_same_state_wherever_nodes_die(
        keys in 1_u32..4,
        crashes in prop::collection::vec(
            prop_oneof![Just(Crash::Before), Just(Crash::BetweenStepAndOutcome), Just(Crash::After), Just(Crash::Never)],
            0..60,
        ),
    ) {
        let playbook = playbook(keys);
        let (whole, over, _) = run(&playbook, &[]);
        let (world, again, order) = run(&playbook, &crashes);
        prop_assert!(playbook.is_over(&over) && playbook.is_over(&again));
        prop_assert_eq!(world, whole);
        // Nothing came before what it needs, and the report came last.
        for (at, place) in order.iter().enumerate() {
            for needed in &playbook.0[*place].needs {
                prop_assert!(order[..at].contains(needed));
            }
        }
        prop_assert_eq!(&playbook.0[*order.last().unwrap()].step, &Step::Report);
    }

    /// Whatever somebody does to an incident, it is shut for good once it is closed, and bars nothing before it acts.
    #[test]
    fn states_lead_somewhere(moves in prop::collection::vec(0_u8..4, 0..20), asks in any::<bool>()) {
        let mut state = if asks { State::Waiting } else { State::Watching };
        let mut has_acted = false;
        for one in moves {
            let to = match one {
                0 => Move::Approve,
                1 => Move::Finish(false),
                2 => Move::Finish(true),
                _ => Move::Close,
            };
            let before = state;
            if let Ok(after) = state.after(to) {
                state = after;
                has_acted |= after == State::Running;
            }
            prop_assert!(before != State::Closed || state == State::Closed);
            prop_assert!(has_acted || !state.bars());
        }
    }
}

#[test]
fn isolation_comes_first_and_spreads_before_anything_else() {
    let playbook = playbook(3);
    let mut over = Outcomes::new();
    for expected in 0..3 {
        let (place, step) = playbook.next(&over, 0).unwrap();
        assert_eq!((place, step.as_str()), (expected, "suspend"));
        over.insert(place, Ended::Done);
    }
    let (place, step) = playbook.next(&over, 0).unwrap();
    assert_eq!(step, &Step::Spread);
    assert_eq!(playbook.next(&over, place + 1), None);
    over.insert(place, Ended::Failed);
    // What has failed is over too: the rest must not wait for somebody to mend it.
    assert_eq!(playbook.next(&over, 0).unwrap().1.as_str(), "compromise");
}

#[test]
fn what_has_failed_is_done_again_and_reported_again() {
    let playbook = playbook(2);
    let (_, mut over, _) = run(&playbook, &[]);
    over.remove(&0);
    for place in playbook.repeated() {
        over.remove(&place);
    }
    let mut order = Vec::new();
    while let Some((place, step)) = playbook.next(&over, 0) {
        order.push(step.as_str());
        over.insert(place, Ended::Done);
    }
    assert_eq!(order, ["suspend", "spread", "notify", "report"]);
}

#[test]
fn steps_and_states_are_written_and_read() {
    let playbook = playbook(2);
    let text = serde_json::to_string(&playbook).unwrap();
    assert!(text.contains(r#""step":"suspend","key":"k0","version":1,"needs":[]"#), "{text}");
    assert_eq!(serde_json::from_str::<Playbook>(&text).unwrap(), playbook);
    for state in State::ALL {
        assert_eq!(State::from_row(state.as_str()), Some(state));
    }
    for ended in [Ended::Done, Ended::Skipped, Ended::Failed] {
        assert_eq!(Ended::from_row(ended.as_str()), Some(ended));
    }
}

#[test]
fn principals_are_known_by_their_looks() {
    let id = uuid::Uuid::from_u128(7);
    assert_eq!(Principal::of(&id.simple().to_string()), Principal::ApiKey(id));
    assert!(matches!(Principal::of(&"ab".repeat(32)), Principal::Device(_)));
    for text in ["alice", &id.hyphenated().to_string(), ""] {
        assert_eq!(Principal::of(text), Principal::Subject(text.to_owned()));
    }
}
