//! Revocations in memory: what they concern, what they cost.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const NOW: i64 = 1_800_000_000;

fn marker() -> Marker {
    Marker::new(b"a secret of the ring")
}

fn key() -> Uuid {
    Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001)
}

fn facts<'a>(jti: &'a str, begun: i64) -> Facts<'a> {
    Facts {
        key: key(),
        kid: "kid",
        jti,
        family: Some("family"),
        subject: Some("alice"),
        begun,
        issued: begun,
    }
}

fn revocation(kind: Kind, value: &str, cutoff: Option<i64>, seconds: i64) -> Revocation {
    Revocation {
        kind,
        mark: marker().mark(kind, value),
        cutoff,
        expires_at: (NOW + seconds) * 1_000,
        of: None,
    }
}

#[test]
fn what_is_concerned_and_what_is_not() {
    let ms = NOW * 1_000;
    let concern = |revocation: Revocation, facts: &Facts<'_>| {
        let revocations = Revocations::default();
        revocations.add(&revocation);
        revocations.concern(&marker(), facts, NOW)
    };
    let of = |kind, value, cutoff| revocation(kind, value, cutoff, 60);
    let token = facts("jti", ms);
    assert!(concern(of(Kind::Token, "jti", None), &token));
    assert!(!concern(of(Kind::Token, "other", None), &token));
    // The same text of another kind is another thing.
    assert!(!concern(of(Kind::Token, "alice", None), &token));
    assert!(!concern(of(Kind::Subject, "jti", Some(ms)), &token));
    assert!(concern(of(Kind::Family, "family", None), &token));
    assert!(!concern(of(Kind::Family, "family", None), &Facts { family: None, ..token }));
    for (kind, value) in [(Kind::Subject, "alice"), (Kind::Version, "kid")] {
        assert!(concern(of(kind, value, Some(ms)), &token));
        assert!(concern(of(kind, value, Some(ms + 1)), &token));
        assert!(!concern(of(kind, value, Some(ms - 1)), &token), "{kind:?}");
    }
    // A refreshed token has begun with its family, and was made later.
    let refreshed = Facts { begun: ms - 5_000, ..token };
    assert!(concern(of(Kind::Subject, "alice", Some(ms - 1)), &refreshed));
    assert!(!concern(of(Kind::Version, "kid", Some(ms - 1)), &refreshed));
    // Among the tokens of one key only.
    let within = |mut revocation: Revocation, key| {
        revocation.mark = revocation.mark.within(key);
        revocation
    };
    for revocation in [of(Kind::Token, "jti", None), of(Kind::Subject, "alice", Some(ms))] {
        assert!(concern(within(revocation, key()), &token));
        assert!(!concern(within(revocation, Uuid::from_u128(7)), &token));
    }
    // All families of a key, and what has none is left alone.
    let families = Revocation { mark: marker().families(key()), ..of(Kind::Families, "*", Some(ms)) };
    assert!(concern(families, &token));
    assert!(!concern(families, &Facts { family: None, ..token }));
    assert!(!concern(families, &Facts { key: Uuid::from_u128(7), ..token }));
    assert!(!concern(families, &Facts { begun: ms + 1, ..token }));
    assert!(concern(families, &Facts { issued: ms + 1, ..token }));
    // Nothing concerns anybody under another secret.
    let revocations = Revocations::default();
    revocations.add(&of(Kind::Token, "jti", None));
    assert!(!revocations.concern(&Marker::new(b"another"), &token, NOW));
}

#[test]
fn tokens_say_when_they_began() {
    let id = |ms: u64| uuid::Builder::from_unix_timestamp_millis(ms, &[0xff; 10]).into_uuid().to_string();
    let (family, jti) = (id(1_000), id(2_000));
    assert_eq!(begun(Some(&family), Some(&jti), Some(3)), 1_000);
    assert_eq!(begun(None, Some(&jti), Some(3)), 2_000);
    assert_eq!(begun(Some("mine"), Some("mine"), Some(3)), 3_000);
    assert_eq!(begun(None, Some(&Uuid::new_v4().to_string()), Some(3)), 3_000);
    assert_eq!(begun(None, None, None), i64::MIN);
    assert_eq!(begun(None, None, Some(i64::MAX)), i64::MIN);
}

proptest! {
    /// Whatever comes in which order and how often, it ends in what a plain list would say.
    #[test]
    fn order_and_repetition_do_not_matter(
        steps in prop::collection::vec((0_usize..4, 0_u8..4, prop::option::of(-3_i64..3), -2_i64..5), 0..40),
        asked in (0_u8..4, -4_i64..4, 0_i64..6),
    ) {
        let revocations = Revocations::default();
        let mut list = Vec::new();
        for (kind, value, cutoff, seconds) in steps {
            let kind = Kind::ALL[kind];
            let cutoff = if matches!(kind, Kind::Token | Kind::Family) { None } else { cutoff.or(Some(0)) };
            let one = revocation(kind, &value.to_string(), cutoff, seconds);
            revocations.add(&one);
            prop_assert!(revocations.has(&one));
            list.push(one);
        }
        let (value, begun, later) = asked;
        let text = value.to_string();
        let facts = Facts { key: key(), kid: &text, jti: &text, family: Some(&text), subject: Some(&text), begun, issued: begun };
        // Cut-offs and ends of one thing are taken together.
        let mut merged: HashMap<[u8; 16], (i64, i64)> = HashMap::new();
        for one in &list {
            let entry = merged.entry(*one.mark.as_bytes()).or_insert((i64::MIN, i64::MIN));
            *entry = (entry.0.max(one.cutoff.unwrap_or(i64::MAX)), entry.1.max(one.expires_at / 1_000 + 1));
        }
        let expected = Kind::ALL.iter().any(|kind| {
            merged.get(marker().mark(*kind, &text).as_bytes()).is_some_and(|(cutoff, until)| begun <= *cutoff && NOW + later < *until)
        });
        prop_assert_eq!(revocations.concern(&marker(), &facts, NOW + later), expected);
        revocations.forget(NOW + later);
        prop_assert_eq!(revocations.concern(&marker(), &facts, NOW + later), expected);
        let live = merged.values().filter(|(_, until)| NOW + later < *until).count();
        prop_assert_eq!(revocations.len(), live);
    }
}

/// A million of them: what a look costs and what they weigh, with five times the time that is promised and all of the memory.
#[test]
fn a_million_are_light_and_fast() {
    const LIVE: usize = 1_000_000;
    let (revocations, marker) = (Revocations::default(), marker());
    let before = resident();
    for number in 0..LIVE {
        let mark = marker.mark(Kind::Token, &number.to_string());
        revocations.add(&Revocation {
            kind: Kind::Token,
            mark,
            cutoff: None,
            expires_at: (NOW + 60) * 1_000,
            of: None,
        });
    }
    assert_eq!(revocations.len(), LIVE);
    let mib = (resident().saturating_sub(before)) / (1 << 20);
    assert!(mib < 100, "{mib} MiB");
    let tokens: Vec<String> = (0..10_000).map(|number| (number * 177 + 50_000).to_string()).collect();
    let round = || {
        let began = Instant::now();
        let hits = tokens.iter().filter(|jti| revocations.concern(&marker, &facts(jti, NOW), NOW)).count();
        (began.elapsed() / 10_000, hits)
    };
    let (took, hits) = std::iter::repeat_with(round).take(10).min().unwrap();
    assert_eq!(hits, tokens.iter().filter(|jti| jti.parse::<usize>().unwrap() < LIVE).count());
    assert!(took < Duration::from_micros(5), "{took:?}");
    // Once they have expired, their memory is given back.
    assert_eq!(revocations.forget(NOW + 61), LIVE);
    assert!(revocations.is_empty());
    let left = (resident().saturating_sub(before)) / (1 << 20);
    assert!(left < mib / 2, "{left} of {mib} MiB");
}

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}
