//! Sessions: signatures over one of them beside HTTP, what idle ones cost, and how soon many are told.

use std::{path::Path, time::Duration};

use claviger_tests::{
    Postgres, Redis, cluster, node, proc, process,
    sessions::{Crowd, pipelined},
};
use serde_json::{Value, json};

use crate::{
    figures::{Bound, Spread},
    launch::{self, Launched},
    operation::Operation,
    settings::Settings,
    table::{Judge, Lines},
    target::{Kind, Target},
    wrk,
};

/// Requests in flight: of one session, or of so many connections.
const WINDOW: u16 = 32;
/// Sessions that do nothing.
const IDLE: usize = 10_000;
/// What one of them may have resident, in KiB.
const RESIDENT: Bound = Bound::AtMost(20.0);
/// Hundredths of a core that all of them may take.
const SHARE: Bound = Bound::AtMost(5.0);
/// As long as from one tick to the next, so that each of them has had one.
const WATCHED: Duration = Duration::from_secs(31);
/// Long enough for whatever a start, or their coming, has left to do.
const REST: Duration = Duration::from_secs(2);
/// Sessions that listen, and changes that they are told of.
const LISTENING: usize = 5_000;
const CHANGES: usize = 20;
/// Milliseconds in which all but a hundredth are told.
const TOLD: Bound = Bound::AtMost(250.0);
const MANY: (&str, &str) = ("CLAVIGER_WS__SESSIONS_PER_PRINCIPAL", "20000");

/// Signatures a second, and microseconds of processor time for each: over a session, over connections.
type Sample = ((f64, f64), (f64, f64));

/// ES256 signatures over one session and over as many connections as it has requests in flight, by turns.
pub(crate) fn signing(settings: &Settings, binary: &Path, lines: &mut Lines, judge: &mut Judge) {
    let target = Target::claviger(Kind::Claviger, binary, &settings.only([Operation::Es256.name()]));
    let request = target.request(Operation::Es256).unwrap();
    let mut params: Value = serde_json::from_str(request.body.as_ref().unwrap()).unwrap();
    params["name"] = json!("bench-es256");
    let at = (target.address(), target.token().unwrap());
    let over_session = || {
        let before = proc::cpu_seconds(target.pid());
        let seconds = Duration::from_secs(settings.seconds);
        let answered = pipelined(at, ("keys.sign", &params), WINDOW.into(), seconds);
        let used = proc::cpu_seconds(target.pid()) - before;
        (answered.calls as f64 / answered.within.as_secs_f64(), used / answered.calls as f64 * 1e6)
    };
    let over_http = || {
        let sample = wrk::load(&target, request, WINDOW, settings.seconds);
        (sample.rate, sample.cpu)
    };
    let samples: Vec<Sample> = (0..=settings.rounds)
        .map(|round| {
            if round % 2 == 0 {
                let session = over_session();
                (session, over_http())
            } else {
                let http = over_http();
                (over_session(), http)
            }
        })
        // The first seconds of a process are not like the others.
        .skip(1)
        .collect();
    let mut told = |what: &str, decimals: usize, bound: Bound, figure: fn(&Sample) -> f64| {
        let spread = Spread::of(samples.iter().map(figure)).unwrap();
        let what = format!("ES256 signatures, {what}");
        lines.add(judge, &what, (spread.told(decimals), spread.median), bound);
    };
    told("a second, one session with 32 in flight", 0, Bound::None, |(session, _)| session.0);
    told("a second, 32 connections", 0, Bound::None, |(_, http)| http.0);
    told("CPU µs each, one session with 32 in flight", 1, Bound::None, |(session, _)| session.1);
    told("CPU µs each, 32 connections", 1, Bound::None, |(_, http)| http.1);
    let what = "for the same processor time, a session against connections";
    told(what, 2, Bound::AtLeast(1.0), |(session, http)| http.1 / session.1);
}

/// What sessions cost that do nothing but hear the time.
pub(crate) fn idle(binary: &Path, lines: &mut Lines, judge: &mut Judge) {
    proc::many_files();
    let folder = tempfile::tempdir().unwrap();
    let mut command = launch::command(binary);
    let launched = Launched::start(command.arg("serve").env(MANY.0, MANY.1), folder.path());
    let at = (launched.address.as_str(), node::TOKEN);
    // What the first sessions leave behind is there once.
    drop(Crowd::open(100, at, None));
    process::pause(REST);
    let before = proc::resident(launched.pid());
    let _crowd = Crowd::open(IDLE, at, None);
    process::pause(REST);
    let used = proc::cpu_seconds(launched.pid());
    process::pause(WATCHED);
    let used = proc::cpu_seconds(launched.pid()) - used;
    let each = (proc::resident(launched.pid()) - before) * 1_024.0 / IDLE as f64;
    let what = format!("memory of each of {IDLE} idle sessions");
    lines.add(judge, &what, (format!("{each:.1} KiB"), each), RESIDENT);
    let share = used / WATCHED.as_secs_f64() * 100.0;
    let what = format!("{IDLE} idle sessions with ticks, share of a core");
    lines.add(judge, &what, (format!("{share:.1} %"), share), SHARE);
}

/// How soon all who listen on one node are told of what was done on another.
pub(crate) fn events(lines: &mut Lines, judge: &mut Judge) {
    proc::many_files();
    let (postgres, redis) = (Postgres::durable(), Redis::start());
    let (url, hints) = (postgres.url(), redis.url());
    let environment = [("CLAVIGER_REDIS__URL", hints.as_str()), MANY];
    let nodes = cluster::at_once(2, |index| cluster::node(&url, index, &environment));
    let client = nodes[0].client();
    client.post("/v1/keys", &json!({"name": "k", "type": "aes256-gcm"})).expect(201);
    let crowd = Crowd::open(LISTENING, (nodes[1].address(), node::TOKEN), Some("k"));
    let times = crowd.told(CHANGES, move || {
        let body = json!({"force": true, "reason": "measured"});
        client.post("/v1/keys/k/rotate", &body).expect(200)["epoch"].as_u64().unwrap()
    });
    for (share, name, bound) in [(0.5, "half of them", Bound::None), (0.99, "all but a hundredth", TOLD)] {
        let ms = times.quantile(share).as_secs_f64() * 1e3;
        let what = format!("{LISTENING} sessions of one node told of a change on another, {name}");
        lines.add(judge, &what, (format!("{ms:.0} ms"), ms), bound);
    }
}
