//! A million live revocations: what they weigh, and what a look costs.

use std::{process, time::Instant};

use claviger_actors::tokens::{Facts, Kind, Marker, Revocation, Revocations};
use claviger_tests::proc;
use uuid::Uuid;

use crate::{
    figures::{Bound, Spread},
    settings::Settings,
    table::{Judge, Lines},
};

const LIVE: u32 = 1_000_000;
const LOOKS: u32 = 1_000_000;
const NOW: i64 = 1_800_000_000;
/// MiB of all of them, and microseconds of one look.
const BOUNDS: (f64, f64) = (100.0, 1.0);

pub(crate) fn measure(settings: &Settings, lines: &mut Lines, judge: &mut Judge) {
    let marker = Marker::new(b"a secret of the ring, of 32 bytes");
    let before = proc::resident(process::id());
    let revocations = Revocations::default();
    for number in 0..LIVE {
        let mark = marker.mark(Kind::Token, &jti(number));
        revocations.add(&Revocation {
            kind: Kind::Token,
            mark,
            cutoff: None,
            expires_at: (NOW + 60) * 1_000,
            of: None,
        });
    }
    let weight = proc::resident(process::id()) - before;
    let what = format!("memory of {LIVE} live revocations");
    lines.add(judge, &what, (format!("{weight:.1} MiB"), weight), Bound::AtMost(BOUNDS.0));
    for (name, first) in [("is revoked", 0), ("is not", LIVE)] {
        let looks: Vec<String> = (first..first + 10_000).map(jti).collect();
        let look = || {
            let began = Instant::now();
            for number in 0..LOOKS {
                let jti = &looks[usize::try_from(number).unwrap() % looks.len()];
                let facts = Facts {
                    key: Uuid::nil(),
                    kid: "kid",
                    jti,
                    family: None,
                    subject: Some("s"),
                    begun: NOW,
                    issued: NOW,
                };
                assert_eq!(revocations.concern(&marker, &facts, NOW), first == 0);
            }
            began.elapsed().as_secs_f64() * 1e6 / f64::from(LOOKS)
        };
        let spread = Spread::of((0..settings.rounds).map(|_| look())).unwrap();
        let what = format!("look among {LIVE} revocations at a token that {name}");
        lines.add(judge, &what, (format!("{} µs", spread.told(3)), spread.median), Bound::AtMost(BOUNDS.1));
    }
}

fn jti(number: u32) -> String {
    Uuid::from_u128(u128::from(number) << 64 | 0x7000_8000).to_string()
}
