//! A quota is one for all nodes.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use claviger_tests::{Client, Node, Postgres, Redis, cluster, cluster::at_once, process};
use serde_json::json;

use super::redis::status;

/// Requests a second.
const RATE: usize = 30;
const QUOTA: (&str, &str) = ("CLAVIGER_LIMITS__PRINCIPAL", "30/s");
/// Until nodes know what the others are asked for.
const SETTLED: Duration = Duration::from_secs(4);
const MEASURED: Duration = Duration::from_secs(6);

fn start(nodes: usize) -> (Vec<Node>, Redis, Postgres) {
    let (postgres, redis) = (Postgres::start(), Redis::start());
    let (url, hints) = (postgres.url(), redis.url());
    let nodes =
        at_once(nodes, |index| cluster::node(&url, index, &[("CLAVIGER_REDIS__URL", hints.as_str()), QUOTA]));
    nodes.iter().for_each(|node| status(node, "connected"));
    nodes[0].client().post("/v1/keys", &json!({"name": "k", "type": "aes256-gcm"})).expect(201);
    (nodes, redis, postgres)
}

fn is_let_through(client: &Client) -> bool {
    let answer = client.post("/v1/keys/k/encrypt", &json!({"plaintext": "aGVsbG8="}));
    match answer.status {
        200 => true,
        _ => {
            answer.refused(429, "rate_limited");
            false
        }
    }
}

/// Requests that are let through in a second, in all, while clients ask these nodes as often as they can.
fn rate(nodes: &[Node]) -> f64 {
    let (counts, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let measuring = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for node in nodes {
            let (counts, over, measuring) = (&counts, &over, &measuring);
            scope.spawn(move || {
                let client = node.client();
                while !over.load(Ordering::Relaxed) {
                    let passed = is_let_through(&client) && measuring.load(Ordering::Relaxed);
                    counts.fetch_add(usize::from(passed), Ordering::Relaxed);
                    process::pause(Duration::from_millis(3));
                }
            });
        }
        process::pause(SETTLED);
        measuring.store(true, Ordering::Relaxed);
        let began = Instant::now();
        process::pause(MEASURED);
        over.store(true, Ordering::Relaxed);
        counts.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
    })
}

fn is_about(rate: f64, wanted: f64) -> bool {
    (wanted * 0.6..wanted * 1.4).contains(&rate)
}

#[test]
fn a_quota_is_one_for_all_nodes_wherever_it_is_asked_for() {
    let (nodes, mut redis, _postgres) = start(3);
    let all = RATE as f64;
    let everywhere = rate(&nodes);
    assert!(is_about(everywhere, all), "at all nodes: {everywhere}");
    // Whoever keeps to one node has all of it there.
    let at_one = rate(&nodes[1..2]);
    assert!(is_about(at_one, all), "at one: {at_one}");
    // Without Redis each node keeps to its part, and nobody is held up.
    redis.kill();
    let began = Instant::now();
    let (everywhere, at_one) = (rate(&nodes), rate(&nodes[..1]));
    assert!(is_about(everywhere, all), "at all nodes, without Redis: {everywhere}");
    assert!(is_about(at_one, all / 3.0), "at one, without Redis: {at_one}");
    assert!(began.elapsed() < (SETTLED + MEASURED) * 3);
    redis.restart();
    nodes.iter().for_each(|node| status(node, "connected"));
    let at_one = rate(&nodes[..1]);
    assert!(is_about(at_one, all), "at one, with Redis again: {at_one}");
    assert!(!redis.cli(&["KEYS", "claviger:*:quotas:*"]).contains("bootstrap"));
}
