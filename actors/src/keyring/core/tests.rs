//! The state machine, by tables and by random sequences with invariants after every step.

use std::sync::atomic::{AtomicU64, Ordering};

use chrono::TimeDelta;
use claviger_crypto::{material::Material, secret::SecretBytes};
use claviger_entity::{HumanDuration, KeyType, RotationPolicy};
use proptest::prelude::*;

use super::*;
use crate::keyring::internal;

static SERIAL: AtomicU64 = AtomicU64::new(0);

fn material() -> Material {
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    Material {
        kid: format!("kid-{serial}").parse().unwrap(),
        secret: SecretBytes::new(vec![1]),
        public_spki: None,
        bits: None,
    }
}

fn name() -> KeyName {
    "orders".parse().unwrap()
}

fn start() -> Time {
    Time::from_timestamp_millis(1_700_000_000_000).unwrap()
}

fn spec(key_type: KeyType) -> CreateKey {
    CreateKey { deletion_allowed: true, ..internal::plain(name(), key_type) }
}

struct World {
    ring: Ring,
    now: Time,
}

impl World {
    fn with(spec: CreateKey) -> Self {
        let mut world = Self { ring: Ring::default(), now: start() };
        world.run(Command::Create(Box::new(spec), vec![material(), material()])).unwrap();
        world
    }

    /// As the shell does it: decide, seal, persist (nothing here), evolve.
    fn run(&mut self, command: Command) -> Result<Subject, RingError> {
        let mut change = self.ring.decide(command, self.now)?;
        for new in &mut change.inserted {
            new.record.sealed = Some(Arc::from(vec![0]));
        }
        let subject = change.subject.clone();
        self.ring.evolve(change);
        Ok(subject)
    }

    fn rotate(&mut self, force: bool) -> Result<Subject, RingError> {
        let reason = force.then(|| "test".to_owned());
        self.run(Command::Rotate(
            Rotate { name: name(), force, reason, expected: None },
            Some(Box::new(material())),
        ))
    }

    fn transition(&mut self, version: u32, kind: TransitionKind) -> Result<Subject, RingError> {
        let version = VersionNumber::new(version).unwrap();
        let transition = Transition { name: name(), version, kind, reason: "test".to_owned() };
        self.run(Command::Transition(transition, vec![material(), material()]))
    }

    fn states(&self) -> Vec<KeyState> {
        self.ring.key(&name()).unwrap().versions.values().map(|version| version.state).collect()
    }

    fn advance(&mut self, delta: TimeDelta) {
        self.now += delta;
    }
}

use KeyState::{Active, Compromised, Deactivated, Destroyed, PreActivation, Retired, Suspended};

#[test]
fn a_new_key_has_a_primary_and_a_standby() {
    let world = World::with(spec(KeyType::Es256));
    assert_eq!(world.states(), [Active, PreActivation]);
}

#[test]
fn rotation_waits_for_the_lead_unless_forced_with_a_reason() {
    let mut world = World::with(spec(KeyType::Es256));
    let earliest = start() + TimeDelta::hours(1);
    assert_eq!(world.rotate(false), Err(RingError::StandbyTooYoung { earliest }));
    let blunt = Rotate { name: name(), force: true, reason: Some("  ".to_owned()), expected: None };
    assert!(matches!(world.run(Command::Rotate(blunt, None)), Err(RingError::Invalid(_))));
    world.advance(TimeDelta::hours(1) - TimeDelta::milliseconds(1));
    assert!(world.rotate(false).is_err());
    world.advance(TimeDelta::milliseconds(1));
    assert_eq!(world.rotate(false).unwrap().version.number(), 2);
    assert_eq!(world.states(), [Deactivated, Active, PreActivation]);
    assert!(world.rotate(false).is_err());
    assert_eq!(world.rotate(true).unwrap().version.number(), 3);
}

/// How long a revocation must be remembered: by the longest lifetime that there ever was, and if nobody took it down, nobody knows it.
#[test]
fn the_longest_lifetime_is_taken_down_or_unknown() {
    let hours = |hours: u64| Some(HumanDuration::from_secs(hours * 3_600));
    let limit = |world: &mut World, ttl: &str| {
        let patch = serde_json::json!({"claims": {"max_ttl": ttl}});
        let patch = patch.as_object().unwrap().clone();
        world.run(Command::Update(UpdateKey { name: name(), patch, if_match: None })).unwrap();
    };
    let longest = |world: &World| world.ring.key(&name()).unwrap().record.longest_ttl();
    let mut world = World::with(spec(KeyType::Es256));
    assert_eq!(longest(&world), hours(24));
    for (ttl, expected) in [("1h", 24), ("48h", 48), ("2h", 48)] {
        limit(&mut world, ttl);
        assert_eq!(longest(&world), hours(expected), "{ttl}");
    }
    // As the release before left it: never changed, and changed in a way that nobody knows.
    for (revision, expected) in [(1, hours(24)), (2, None)] {
        let mut world = World::with(spec(KeyType::Es256));
        let mut key = Key::clone(world.ring.key(&name()).unwrap());
        (key.record.longest_ttl, key.record.revision) = (None, revision);
        world.ring.replace(key);
        assert_eq!(longest(&world), expected);
        limit(&mut world, "1h");
        assert_eq!(longest(&world), expected, "it stays so");
        world.rotate(true).unwrap();
        assert_eq!(longest(&world), expected);
    }
}

/// P2: of two who saw the same primary, one rotates.
#[test]
fn p2_a_due_rotation_happens_once() {
    let mut world = World::with(spec(KeyType::Hs256));
    world.advance(TimeDelta::days(100));
    let rotate = || Rotate { name: name(), force: false, reason: None, expected: Some(VersionNumber::FIRST) };
    assert!(world.run(Command::Rotate(rotate(), Some(Box::new(material())))).is_ok());
    world.advance(TimeDelta::days(100));
    assert!(matches!(
        world.run(Command::Rotate(rotate(), Some(Box::new(material())))),
        Err(RingError::StateConflict(_))
    ));
    assert_eq!(world.states(), [Deactivated, Active, PreActivation]);
}

#[test]
fn transitions_by_table() {
    let kinds = [
        TransitionKind::Suspend,
        TransitionKind::Resume,
        TransitionKind::Compromise(Exposure::Version),
        TransitionKind::Destroy,
    ];
    // From each state: the state after suspend, resume, compromise, destroy; None = refused.
    let table = [
        (PreActivation, [Some(Suspended), None, Some(Compromised), None]),
        (Active, [Some(Suspended), None, Some(Compromised), None]),
        (Deactivated, [Some(Suspended), None, Some(Compromised), Some(Destroyed)]),
        (Retired, [None, None, None, Some(Destroyed)]),
        (Suspended, [None, Some(Deactivated), Some(Compromised), Some(Destroyed)]),
        (Compromised, [None, None, None, Some(Destroyed)]),
        (Destroyed, [None, None, None, None]),
    ];
    for (from, outcomes) in table {
        for (kind, outcome) in kinds.into_iter().zip(outcomes) {
            let (mut world, version) = brought_to(from);
            let done = world.transition(version, kind);
            assert_eq!(done.ok().map(|subject| subject.state), outcome, "{from} {kind:?}");
        }
    }
}

fn brought_to(state: KeyState) -> (World, u32) {
    let mut world = World::with(spec(KeyType::Hs256));
    if state == PreActivation {
        return (world, 2);
    }
    match state {
        PreActivation | Active => {}
        Deactivated => drop(world.rotate(true).unwrap()),
        Suspended => drop(world.transition(1, TransitionKind::Suspend).unwrap()),
        Compromised => drop(world.transition(1, TransitionKind::Compromise(Exposure::Version)).unwrap()),
        Retired => {
            world.rotate(true).unwrap();
            world.advance(TimeDelta::days(2));
            world.run(Command::Retire { name: name() }).unwrap();
        }
        Destroyed => {
            world.rotate(true).unwrap();
            world.transition(1, TransitionKind::Destroy).unwrap();
        }
    }
    assert_eq!(world.states()[0], state);
    (world, 1)
}

#[test]
fn the_standby_takes_the_place_of_a_primary_that_is_gone() {
    for kind in [TransitionKind::Suspend, TransitionKind::Compromise(Exposure::Version)] {
        let mut world = World::with(spec(KeyType::Es256));
        world.transition(1, kind).unwrap();
        assert_eq!(world.states()[1..], [Active, PreActivation]);
    }
}

#[test]
fn a_leaked_store_costs_the_standby_too() {
    let mut world = World::with(spec(KeyType::Es256));
    world.transition(1, TransitionKind::Compromise(Exposure::Store)).unwrap();
    assert_eq!(world.states(), [Compromised, Compromised, Active, PreActivation]);
}

#[test]
fn a_compromised_standby_is_replaced() {
    let mut world = World::with(spec(KeyType::Es256));
    world.transition(2, TransitionKind::Compromise(Exposure::Version)).unwrap();
    assert_eq!(world.states(), [Active, Compromised, PreActivation]);
}

#[test]
fn grace_ends_tokens_but_never_ciphertexts() {
    let retired = |key_type, days| {
        let mut world = World::with(spec(key_type));
        world.rotate(true).unwrap();
        world.advance(TimeDelta::days(days));
        world.run(Command::Retire { name: name() }).is_ok()
    };
    assert!(!retired(KeyType::Es256, 1));
    assert!(retired(KeyType::Es256, 2));
    for key_type in [KeyType::Aes256Gcm, KeyType::Fernet, KeyType::HmacSha256] {
        assert!(!retired(key_type, 36_500), "{key_type}");
    }
}

#[test]
fn a_shorter_grace_never_shortens_what_was_promised() {
    let mut world = World::with(spec(KeyType::Es256));
    world.rotate(true).unwrap();
    let until = world.ring.key(&name()).unwrap().versions.values().next().unwrap().verify_until;
    let patch = serde_json::json!({"rotation": {"grace": "1s"}}).as_object().unwrap().clone();
    world.run(Command::Update(UpdateKey { name: name(), patch, if_match: None })).unwrap();
    assert_eq!(world.ring.key(&name()).unwrap().versions.values().next().unwrap().verify_until, until);
    assert_eq!(until, Some(start() + TimeDelta::hours(25)));
}

#[test]
fn deletion_waits_can_be_cancelled_and_ends_every_version() {
    let mut world = World::with(spec(KeyType::Es256));
    let schedule = || Command::ScheduleDeletion { name: name(), after: HumanDuration::from_days(7) };
    world.run(schedule()).unwrap();
    assert!(matches!(world.rotate(true), Err(RingError::StateConflict(_))));
    world.run(Command::Restore { name: name() }).unwrap();
    world.run(schedule()).unwrap();
    assert!(world.run(Command::EndOfLife { name: name() }).is_err());
    world.advance(TimeDelta::days(7));
    world.run(Command::EndOfLife { name: name() }).unwrap();
    assert_eq!(world.ring.key(&name()), Err(RingError::KeyNotFound));
    let again = Command::Create(Box::new(spec(KeyType::Es256)), vec![material()]);
    assert_eq!(world.run(again), Err(RingError::KeyExists));
}

#[test]
fn a_temporary_key_is_used_up_on_both_sides() {
    let temporary = Some(claviger_entity::domain::temporary::TemporaryPolicy::default());
    let mut world = World::with(CreateKey { temporary, ..spec(KeyType::Aes256Gcm) });
    assert_eq!(world.states(), [Active]);
    let use_it = |what| Command::Consume { name: name(), version: VersionNumber::FIRST, what };
    world.run(use_it(Use::Produce)).unwrap();
    assert_eq!(world.states(), [Deactivated]);
    assert!(world.run(use_it(Use::Produce)).is_err());
    world.run(use_it(Use::Consume)).unwrap();
    assert_eq!(world.states(), [Destroyed]);
    assert!(world.run(use_it(Use::Consume)).is_err());
}

#[test]
fn a_kid_is_never_reused() {
    let mut world = World::with(spec(KeyType::Hs256));
    let taken =
        Material { kid: world.ring.key(&name()).unwrap().primary().unwrap().kid.clone(), ..material() };
    let other = CreateKey { name: "other".parse().unwrap(), ..spec(KeyType::Hs256) };
    assert_eq!(world.run(Command::Create(Box::new(other), vec![taken])), Err(RingError::KidExists));
}

#[test]
fn patches_merge_and_are_judged_as_a_whole() {
    let mut world = World::with(CreateKey {
        rotation: RotationPolicy { every: Some(HumanDuration::from_days(10)), ..RotationPolicy::default() },
        ..spec(KeyType::Es256)
    });
    let mut patch = |patch: serde_json::Value, if_match| {
        let patch = patch.as_object().unwrap().clone();
        world.run(Command::Update(UpdateKey { name: name(), patch, if_match })).err()
    };
    assert_eq!(patch(serde_json::json!({"description": "d"}), Some(2)), Some(RingError::RevisionMismatch));
    assert_eq!(patch(serde_json::json!({"description": "d"}), Some(1)), None);
    assert!(patch(serde_json::json!({"rotation": {"cron": "0 3 1 * *"}}), None).is_some());
    assert_eq!(patch(serde_json::json!({"rotation": {"cron": "0 3 1 * *", "every": null}}), None), None);
    assert!(patch(serde_json::json!({"name": "x"}), None).is_some());
    assert!(patch(serde_json::json!({"min_decryption_version": 2}), None).is_some());
    assert!(patch(serde_json::json!({"min_decryption_version": 0}), None).is_some());
}

#[derive(Debug, Clone)]
enum Step {
    Rotate(bool),
    Suspend(u32),
    Resume(u32),
    Compromise(u32, bool),
    Destroy(u32),
    Retire,
    Replenish,
    Delete,
    Restore,
    EndOfLife,
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<bool>().prop_map(Step::Rotate),
        1 => (1u32..8).prop_map(Step::Suspend),
        1 => (1u32..8).prop_map(Step::Resume),
        1 => ((1u32..8), any::<bool>()).prop_map(|(version, store)| Step::Compromise(version, store)),
        1 => (1u32..8).prop_map(Step::Destroy),
        1 => Just(Step::Retire),
        1 => Just(Step::Replenish),
        1 => Just(Step::Delete),
        1 => Just(Step::Restore),
        1 => Just(Step::EndOfLife),
        4 => (0i64..100_000).prop_map(Step::Wait),
    ]
}

fn take(world: &mut World, step: &Step) {
    // Refusals are as good as changes here; what counts is what they leave behind.
    let _outcome = match step {
        Step::Rotate(force) => world.rotate(*force),
        Step::Suspend(version) => world.transition(*version, TransitionKind::Suspend),
        Step::Resume(version) => world.transition(*version, TransitionKind::Resume),
        Step::Compromise(version, store) => {
            let exposure = if *store { Exposure::Store } else { Exposure::Version };
            world.transition(*version, TransitionKind::Compromise(exposure))
        }
        Step::Destroy(version) => world.transition(*version, TransitionKind::Destroy),
        Step::Retire => world.run(Command::Retire { name: name() }),
        Step::Replenish => world.run(Command::Replenish { name: name(), spare: Box::new(material()) }),
        Step::Delete => {
            world.run(Command::ScheduleDeletion { name: name(), after: HumanDuration::from_days(1) })
        }
        Step::Restore => world.run(Command::Restore { name: name() }),
        Step::EndOfLife => world.run(Command::EndOfLife { name: name() }),
        Step::Wait(seconds) => {
            world.advance(TimeDelta::seconds(*seconds));
            return;
        }
    };
}

proptest! {
    #[test]
    fn invariants_hold_after_every_step(asymmetric in any::<bool>(), steps in proptest::collection::vec(step(), 0..60)) {
        let mut world = World::with(spec(if asymmetric { KeyType::Es256 } else { KeyType::HmacSha256 }));
        let mut kids = std::collections::BTreeSet::new();
        let mut erased = std::collections::BTreeSet::new();
        for step in &steps {
            take(&mut world, step);
            let key = world.ring.any(&name()).unwrap();
            let count = |state| key.versions.values().filter(|version| version.state == state).count();
            prop_assert!(count(Active) <= 1 && count(PreActivation) <= 1);
            let numbers: Vec<u32> = key.versions.keys().map(|version| version.number()).collect();
            prop_assert_eq!(numbers, (1..=key.record.latest_version.number()).collect::<Vec<_>>());
            for version in key.versions.values() {
                kids.insert((version.version, version.kid.clone()));
                prop_assert_eq!(version.sealed.is_none(), version.state.is_erased());
                if version.state.is_erased() {
                    erased.insert(version.version);
                }
                // What was erased stays erased, what is active has a date of activation.
                prop_assert!(!erased.contains(&version.version) || version.state.is_erased());
                prop_assert!(version.state != Active || version.activated_at.is_some());
            }
            prop_assert_eq!(kids.len(), key.versions.len());
        }
    }
}
