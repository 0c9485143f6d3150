//! Starts: of an empty deployment, again, and of a large ring, with what the latter weighs and costs.

use std::time::{Duration, Instant, SystemTime};

use claviger_tests::{Client, Node, proc, process, seed};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    figures::{Bound, Spread},
    settings::Settings,
    table::{Judge, Lines},
};

/// Keys of a large ring, of three versions each.
const KEYS: usize = 10_000;
/// Seconds in which it must have started.
const START_BOUND: f64 = 5.0;
/// Tokens that are issued in a row.
const SIGNATURES: usize = 2_000;
/// The seed makes every twentieth key of one type; these are hs256.
const HS256: usize = 9;

/// Until the first answer of a node that is ready.
pub(crate) fn cold(settings: &Settings, lines: &mut Lines, judge: &mut Judge) {
    let (mut first, mut again) = (Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        let (node, took) = start(tempfile::tempdir().unwrap());
        first.push(took);
        again.push(start(node.into_folder()).1);
    }
    for (what, figures) in [("first start, empty database", first), ("start again", again)] {
        lines.add(judge, &format!("{what}, until it is ready"), milliseconds(&figures), Bound::None);
    }
}

/// A large ring beside a small one.
pub(crate) fn ring(settings: &Settings, lines: &mut Lines, judge: &mut Judge) {
    let (small, mut folder) = (start(seeded(10)).0, seeded(KEYS));
    let (mut took, mut memory) = (Vec::new(), Vec::new());
    let big = loop {
        let (node, start) = start(folder);
        took.push(start);
        process::pause(Duration::from_secs(2));
        memory.push(proc::resident(node.pid()));
        if took.len() == settings.rounds {
            break node;
        }
        folder = node.into_folder();
    };
    let name = format!("{KEYS} keys of 3 versions");
    let spread = Spread::of(took).unwrap();
    let start = (format!("{} s", spread.told(2)), spread.median);
    lines.add(judge, &format!("{name}, start"), start, Bound::AtMost(START_BOUND));
    let spread = Spread::of(memory).unwrap();
    lines.add(
        judge,
        &format!("{name}, memory"),
        (format!("{} MiB", spread.told(1)), spread.median),
        Bound::None,
    );
    let (small, big) = (small.client(), big.client());
    let ratios = (0..settings.rounds).map(|_| issue(&big, KEYS - 20 + HS256) / issue(&small, HS256));
    let spread = Spread::of(ratios).unwrap();
    let what = format!("time of a token with {KEYS} keys, times that with 10");
    lines.add(judge, &what, (spread.told(2), spread.median), Bound::None);
}

/// Starts a node in a folder: seconds until it says that it is ready.
fn start(folder: TempDir) -> (Node, f64) {
    let began = Instant::now();
    let node = Node::within(folder, &[]);
    let client = node.client();
    process::until(process::PATIENCE, || (client.get("/readyz").status == 200).then_some(())).unwrap();
    (node, began.elapsed().as_secs_f64())
}

/// A folder with a database of so many keys.
fn seeded(keys: usize) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    #[expect(
        clippy::disallowed_methods,
        reason = "the seeded keys must not be due for rotation by the node's own clock"
    )]
    let now = SystemTime::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(seed::seed(&data.join("claviger.db"), keys, now.into()));
    folder
}

/// Seconds for one token of a symmetric key, over one connection.
fn issue(client: &Client, index: usize) -> f64 {
    let body = json!({ "key": format!("seed-{index:05}") });
    let began = Instant::now();
    for _ in 0..SIGNATURES {
        assert_eq!(client.post("/v1/tokens", &body).status, 201);
    }
    began.elapsed().as_secs_f64() / SIGNATURES as f64
}

fn milliseconds(figures: &[f64]) -> (String, f64) {
    let spread = Spread::of(figures.iter().map(|seconds| seconds * 1e3)).unwrap();
    (format!("{} ms", spread.told(0)), spread.median)
}
