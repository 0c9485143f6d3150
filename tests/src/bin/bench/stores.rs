//! Reads of what is stored, on a PostgreSQL of this machine: Claviger beside a bare handler that selects the same row.

use std::path::Path;

use claviger_tests::{Client, Postgres, node};
use serde_json::json;

use crate::{
    figures::{Bound, Spread},
    launch::{self, Launched},
    settings::Settings,
    table::{Judge, Lines},
    target::{Kind, Request, Target},
    wrk::{self, Sample},
};

/// Reads a second that one node must reach, or else the share below.
const RATE: f64 = 5_000.0;
/// Share of the bare handler's reads.
const SHARE: f64 = 0.7;
/// Connections of the load.
const CONNECTIONS: [u16; 2] = [16, 64];

/// Reads of one secret, by turns.
pub(crate) fn measure(settings: &Settings, binary: &Path, lines: &mut Lines, judge: &mut Judge) {
    let postgres = Postgres::durable();
    let claviger = claviger(&postgres, binary, settings);
    let bare = bare(&postgres, settings);
    let request = Request::get("/v1/secrets/bench/s");
    for connections in CONNECTIONS {
        let samples: Vec<(Sample, Sample)> = (0..=settings.rounds)
            .map(|round| {
                let load = |target: &Target| wrk::load(target, &request, connections, settings.seconds);
                if round % 2 == 0 {
                    let ours = load(&claviger);
                    (ours, load(&bare))
                } else {
                    let theirs = load(&bare);
                    (load(&claviger), theirs)
                }
            })
            // The first seconds of a process are not like the others.
            .skip(1)
            .collect();
        let figure = |of: &dyn Fn(&(Sample, Sample)) -> f64| Spread::of(samples.iter().map(of)).unwrap();
        let ours = figure(&|(ours, _)| ours.rate);
        let share = figure(&|(ours, bare)| ours.rate / bare.rate);
        let what = format!("reads of a secret a second, PostgreSQL, {connections} connections");
        lines.add(judge, &what, (ours.told(0), ours.median), Bound::None);
        let what = format!("share of a bare select of the same row, {connections} connections");
        // One of the two is enough.
        let bound = if ours.median >= RATE { Bound::None } else { Bound::AtLeast(SHARE) };
        lines.add(judge, &what, (share.told(2), share.median), bound);
        let p99 = figure(&|(ours, _)| ours.p99);
        let what = format!("slowest hundredth of these reads, {connections} connections");
        lines.add(judge, &what, (format!("{} ms", p99.told(1)), p99.median), Bound::None);
    }
}

fn claviger(postgres: &Postgres, binary: &Path, settings: &Settings) -> Target {
    let folder = tempfile::tempdir().unwrap();
    let mut command = launch::command(binary);
    command.arg("serve").env("CLAVIGER_SERVER__WORKERS", settings.workers.to_string());
    let launched = Launched::start(command.env("CLAVIGER_DATABASE__URL", postgres.url()), folder.path());
    let admin = Client::new(format!("http://{}", launched.address), Some(node::TOKEN.to_owned()));
    let body = json!({"value": "x".repeat(64), "description": "measured"}).to_string().into_bytes();
    assert_eq!(admin.send("PUT", "/v1/secrets/bench/s", Some(body), &[]).status, 201);
    let made = admin.post("/v1/api-keys", &json!({"name": "bench", "roles": ["owner"]})).expect(201);
    Target::launched(Kind::Claviger, launched, folder, made["secret"].as_str().map(str::to_owned))
}

fn bare(postgres: &Postgres, settings: &Settings) -> Target {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    std::fs::write(&file, "{}").unwrap();
    let mut command = launch::command(&launch::ceiling());
    command.arg(settings.workers.to_string()).arg(&file).env("CEILING_DATABASE", postgres.url());
    Target::launched(Kind::Ceiling, Launched::start(&mut command, folder.path()), folder, None)
}
