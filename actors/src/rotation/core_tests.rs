//! Ten years of rotations in a second, and clients with old copies of the JWKS.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use chrono::TimeDelta;
use claviger_crypto::{material::Material, secret::SecretBytes};
use claviger_entity::{HumanDuration, KeyState, KeyType, Kid, RotationPolicy, Usage};

use super::*;
use crate::keyring::{
    core::{Command, CreateKey, Rotate},
    internal,
};

static SERIAL: AtomicU64 = AtomicU64::new(0);

fn material() -> Material {
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    Material {
        kid: format!("m-{serial}").parse().unwrap(),
        secret: SecretBytes::new(vec![1]),
        public_spki: None,
        bits: None,
    }
}

fn start() -> Time {
    Time::from_timestamp_millis(1_700_000_000_000).unwrap()
}

fn run(ring: &mut Ring, command: Command, now: Time) {
    let change = ring.decide(command, now).unwrap_or_else(|error| panic!("{error}"));
    ring.evolve(change);
}

fn create(ring: &mut Ring, name: &str, key_type: KeyType, edit: impl FnOnce(&mut CreateKey)) {
    let mut spec = internal::plain(name.parse().unwrap(), key_type);
    edit(&mut spec);
    run(ring, Command::Create(Box::new(spec), vec![material(), material()]), start());
}

/// Does everything that is due until nothing is, as the actor does round by round.
fn settle(ring: &mut Ring, agenda: &mut Agenda, now: Time) -> Option<Time> {
    for _ in 0..10 {
        let (due, next) = agenda.due(ring, now, 100);
        if due.is_empty() {
            return next;
        }
        for due in due {
            let command = match due {
                Due::Standby(name) => Command::Replenish { name, spare: Box::new(material()) },
                Due::Rotation(name, primary) | Due::Worn(name, primary) => {
                    let rotate = Rotate { name, force: false, reason: None, expected: Some(primary) };
                    Command::Rotate(rotate, Some(Box::new(material())))
                }
                Due::Retirement(name) => Command::Retire { name },
                Due::EndOfLife(name) => Command::EndOfLife { name },
            };
            run(ring, command, now);
        }
    }
    panic!("the schedule does not come to rest");
}

fn versions(ring: &Ring, name: &str) -> usize {
    ring.key(&name.parse().unwrap()).unwrap().versions.len()
}

#[test]
fn ten_years_in_a_second() {
    let (mut ring, mut agenda) = (Ring::default(), Agenda::default());
    create(&mut ring, "signing", KeyType::Es256, |_| {});
    create(&mut ring, "data", KeyType::Aes256Gcm, |_| {});
    create(&mut ring, "session", KeyType::HmacSha256, |_| {});
    create(&mut ring, "monthly", KeyType::Hs256, |spec| {
        spec.rotation = RotationPolicy { cron: Some("0 3 1 * *".to_owned()), ..RotationPolicy::default() };
    });
    create(&mut ring, "temporary", KeyType::Hs256, |spec| spec.tier = Some(claviger_entity::Tier::Temporary));
    let end = start() + TimeDelta::days(3_650);
    let mut now = start();
    while let Some(next) = settle(&mut ring, &mut agenda, now)
        && next <= end
    {
        assert!(next > now, "time goes on");
        now = next;
    }
    // Version 1, a standby, and one more for each period.
    assert_eq!(versions(&ring, "signing"), 2 + 3_650 / 90);
    assert_eq!(versions(&ring, "data"), 2 + 3_650 / 30);
    assert_eq!(versions(&ring, "session"), 2 + 3_650);
    assert_eq!(versions(&ring, "monthly"), 2 + 120);
    let temporary = ring.key(&"temporary".parse().unwrap()).unwrap();
    assert!(temporary.versions.values().all(|version| version.state == KeyState::Destroyed));
    let signing = ring.key(&"signing".parse().unwrap()).unwrap();
    let retired = signing.versions.values().filter(|version| version.state == KeyState::Retired).count();
    assert_eq!(
        retired,
        3_650 / 90 - 1
            + usize::from(signing.primary().unwrap().activated_at.unwrap() + TimeDelta::hours(25) <= end)
    );
}

/// P2: after a year asleep a key is rotated once, not twelve times.
#[test]
fn p2_downtime_is_caught_up_with_one_rotation() {
    let (mut ring, mut agenda) = (Ring::default(), Agenda::default());
    create(&mut ring, "data", KeyType::Aes256Gcm, |_| {});
    let late = start() + TimeDelta::days(365);
    let next = settle(&mut ring, &mut agenda, late);
    assert_eq!(versions(&ring, "data"), 3);
    assert_eq!(next, Some(late + TimeDelta::days(30)));
}

#[test]
fn a_missing_standby_is_published_and_its_lead_kept() {
    let (mut ring, mut agenda) = (Ring::default(), Agenda::default());
    let spec = internal::plain("signing".parse().unwrap(), KeyType::Es256);
    run(&mut ring, Command::Create(Box::new(spec), vec![material()]), start());
    let late = start() + TimeDelta::days(90);
    assert_eq!(settle(&mut ring, &mut agenda, late), Some(late + TimeDelta::hours(1)));
    assert_eq!(versions(&ring, "signing"), 2);
    settle(&mut ring, &mut agenda, late + TimeDelta::hours(1));
    assert_eq!(ring.key(&"signing".parse().unwrap()).unwrap().primary().unwrap().version.number(), 2);
}

/// Of our own keys, the one that signs audit logs is replaced each year; one that hashes what is stored never is.
#[test]
fn the_audit_key_is_replaced_each_year_and_the_hashing_key_never() {
    let (mut ring, mut agenda) = (Ring::default(), Agenda::default());
    for spec in internal::specs() {
        run(&mut ring, Command::Create(Box::new(spec), vec![material(), material()]), start());
    }
    let version = |ring: &Ring, name: &'static str| {
        let key = ring.key(&KeyName::internal(name)).unwrap();
        key.primary().unwrap().version.number()
    };
    let mut now = start();
    for year in 1..=10 {
        settle(&mut ring, &mut agenda, now);
        assert_eq!((version(&ring, "audit"), version(&ring, "token-hash")), (year, 1));
        now += TimeDelta::days(364);
        settle(&mut ring, &mut agenda, now);
        assert_eq!(version(&ring, "audit"), year, "not before its time");
        now += TimeDelta::days(1);
    }
}

/// P3: 50 rotations; a client whose copy of the JWKS is up to 600 s old (and another 300 s from a cache on its way) verifies every
/// token that is within its lifetime, at every moment.
#[test]
fn p3_a_client_with_an_old_jwks_verifies_every_token() {
    let (mut ring, mut agenda) = (Ring::default(), Agenda::default());
    create(&mut ring, "tokens", KeyType::Es256, |spec| {
        spec.usage = Some(Usage::Token);
        spec.rotation = RotationPolicy {
            every: Some(HumanDuration::from_secs(2_400)),
            lead: Some(HumanDuration::from_secs(1_200)),
            ..RotationPolicy::default()
        };
        spec.claims.max_ttl = Some(HumanDuration::from_secs(3_600));
    });
    let name = "tokens".parse().unwrap();
    let mut published: BTreeMap<Time, Vec<Kid>> = BTreeMap::new();
    let mut tokens: Vec<(Time, Kid)> = Vec::new();
    let (mut now, mut judged) = (start(), 0);
    while versions(&ring, "tokens") < 52 {
        settle(&mut ring, &mut agenda, now);
        let key = ring.key(&name).unwrap();
        let jwks = key
            .versions
            .values()
            .filter(|version| version.state.may_consume())
            .map(|version| version.kid.clone());
        published.insert(now, jwks.collect());
        tokens.push((now, key.primary().unwrap().kid.clone()));
        tokens.retain(|(issued_at, _)| now - *issued_at < TimeDelta::seconds(3_600));
        for age in [0, 300, 600, 900] {
            let copied_at = now - TimeDelta::seconds(age);
            let Some((_, copy)) = published.range(..=copied_at).next_back() else { continue };
            for (_, kid) in &tokens {
                assert!(copy.contains(kid), "a copy {age} s old lacks {kid}");
                judged += 1;
            }
        }
        now += TimeDelta::seconds(30);
    }
    assert!(judged > 100_000);
}
