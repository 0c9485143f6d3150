//! `make bench`: figures as ratios, measured in alternating rounds on one machine.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a command for developers"
)]

use std::time::{Duration, Instant, SystemTime};

use claviger::auth::Authorizer;
use claviger_tests::{
    Client, Node,
    authorization::{About, World},
    process, seed,
    spread::{Spread, Times},
};
use serde_json::json;

const ROUNDS: usize = 7;
const SIGNATURES: usize = 2_000;
const KEYS: usize = 10_000;
/// The seed makes every twentieth key of one type; these are hs256.
const HS256: usize = 9;
const POLICIES: usize = 2_000;
const DECIDED_KEYS: usize = 200;
/// Keys that are rotated on each size of cluster.
const ROTATED: usize = 200;
/// Those of them that are while Redis is gone, where each takes a second.
const WITHOUT: usize = 40;
/// How long an idle cluster is watched.
const IDLE: Duration = Duration::from_secs(10);

fn main() {
    let (small, _) = start(10);
    let (big, took) = start(KEYS);
    println!("start with {KEYS} keys x 3 versions: {:.2} s (bound 5 s)", took.as_secs_f64());
    let (small, big) = (small.client(), big.client());
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        few.push(sign(&small, HS256));
        many.push(sign(&big, KEYS - 20 + HS256));
    }
    let (few, many) = (median(few), median(many));
    println!(
        "sign with 10 keys: {:.1} us, with {KEYS} keys: {:.1} us, ratio {:.3}",
        few * 1e6,
        many * 1e6,
        many / few
    );
    authorization();
    for nodes in [1, 3, 6, 12] {
        cluster(nodes);
    }
}

/// How changes spread, and what nodes cost their database.
fn cluster(nodes: usize) {
    let mut spread = Spread::start(nodes, ROTATED);
    let idle = statements_per_second(&spread);
    let ms = |times: &Times, share| times.quantile(share).as_secs_f64() * 1e3;
    let told = |what: &str, times: &Times, bound: &str| {
        println!(
            "{nodes} nodes, {what}: p50 {:.1} ms, p99 {:.1} ms ({bound})",
            ms(times, 0.5),
            ms(times, 0.99)
        );
    };
    let (strong, lagging) = spread.strong(ROTATED);
    told("strong rotation answered", &strong, "bound 100");
    println!("{nodes} nodes, nodes that lagged at {ROTATED} strong rotations: {lagging}");
    told("eventual rotation seen everywhere", &spread.eventual(ROTATED), "bound 1000");
    told("compromised version refused everywhere", &spread.revoked((1..ROTATED).step_by(2)), "bound 100");
    if nodes == 3 {
        spread.redis.kill();
        told("eventual without Redis", &spread.eventual(WITHOUT), "bound 2000");
        told("compromised without Redis", &spread.revoked((1..WITHOUT).step_by(2)), "bound 2000");
    }
    println!("{nodes} nodes, idle: {idle:.1} transactions/s in the database");
}

fn statements_per_second(spread: &Spread) -> f64 {
    let count = || -> f64 {
        let sql = "SELECT pg_stat_clear_snapshot(), xact_commit FROM pg_stat_database WHERE datname = current_database()";
        let text = spread.postgres.psql(sql);
        text.trim().rsplit('|').next().unwrap().parse().unwrap()
    };
    let (before, began) = (count(), Instant::now());
    process::pause(IDLE);
    (count() - before) / began.elapsed().as_secs_f64()
}

/// Who may do what, under as many policies as a large deployment has.
fn authorization() {
    for about in [About::Roles, About::Anybody] {
        let world = World::new(DECIDED_KEYS, POLICIES, about);
        let cold = (0..ROUNDS).map(|_| world.cold(&Authorizer::default()).as_secs_f64()).collect();
        let warm = (0..ROUNDS).map(|_| world.warm(&Authorizer::default(), 100).as_secs_f64()).collect();
        let bound = match about {
            About::Roles => "bound 2000",
            About::Anybody => "the worst there is",
        };
        println!(
            "authorization with {POLICIES} policies about {about:?}: cold {:.1} us ({bound}), warm {:.3} us (bound 1)",
            median(cold) * 1e6,
            median(warm) * 1e6
        );
    }
}

fn start(keys: usize) -> (Node, Duration) {
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
    let began = Instant::now();
    let node = Node::within(folder, &[]);
    (node, began.elapsed())
}

/// Seconds for one token of a symmetric key, over one connection.
fn sign(client: &Client, index: usize) -> f64 {
    let body = json!({ "key": format!("seed-{index:05}") });
    let began = Instant::now();
    for _ in 0..SIGNATURES {
        assert_eq!(client.post("/v1/tokens", &body).status, 201);
    }
    began.elapsed().as_secs_f64() / SIGNATURES as f64
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
