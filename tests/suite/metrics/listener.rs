//! The internal listener: no work on data holds it up.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use claviger_tests::node;
use serde_json::json;

use super::{scrape, watched};

/// While every data worker signs batches with RSA-4096, health, metrics and the control plane answer on the internal listener.
#[test]
fn the_internal_listener_answers_while_data_workers_chew() {
    let node = watched(&[("CLAVIGER_SERVER__WORKERS", "2")]);
    let client = node.client();
    let spec = json!({"name": "slow", "type": "rs512", "bits": 4096, "usage": "sign"});
    client.post("/v1/keys", &spec).expect(201);
    client.post("/v1/keys", &json!({"name": "quick", "type": "aes256-gcm"})).expect(201);
    let (chewing, started) = (AtomicBool::new(true), AtomicUsize::new(0));
    let batch = json!({"batch": vec![json!({"input": "aGk="}); 100]});
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while chewing.load(Ordering::Relaxed) {
                    started.fetch_add(1, Ordering::Relaxed);
                    client.post("/v1/keys/slow/sign", &batch).expect(200);
                }
            });
        }
        let watcher = node.internal();
        let admin = watcher.with_token(Some(node::TOKEN));
        while started.load(Ordering::Relaxed) < 4 || in_flight(&node) < 4.0 {
            std::thread::yield_now();
        }
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            assert!(in_flight(&node) >= 2.0, "the workers rest");
            for path in ["/health", "/readyz", "/metrics"] {
                let began = Instant::now();
                assert_eq!(watcher.get(path).status, 200, "{path}");
                slowest = slowest.max(began.elapsed());
            }
            let began = Instant::now();
            admin.get("/v1/cluster").expect(200);
            slowest = slowest.max(began.elapsed());
        }
        let began = Instant::now();
        admin.post("/v1/keys/quick/rotate", &json!({"force": true, "reason": "drill"})).expect(200);
        let rotation = began.elapsed();
        chewing.store(false, Ordering::Relaxed);
        let limit = Duration::from_millis(500);
        assert!(slowest < limit && rotation < limit, "slowest answer {slowest:?}, rotation {rotation:?}");
    });
}

fn in_flight(node: &claviger_tests::Node) -> f64 {
    // The scrape counts itself.
    scrape(node).value("claviger_requests_in_flight") - 1.0
}

/// What needs no credential there is what watches; everything else is behind the same door.
#[test]
fn the_internal_listener_asks_for_credentials_all_the_same() {
    let node = watched(&[]);
    let watcher = node.internal();
    for path in ["/healthz", "/readyz", "/health", "/metrics"] {
        assert_eq!(watcher.get(path).status, 200, "{path}");
    }
    watcher.get("/v1/cluster").refused(401, "unauthorized");
    watcher.post("/v1/keys/stores/encrypt", &json!({"plaintext": "aGk="})).refused(401, "unauthorized");
    assert_eq!(watcher.send("POST", "/metrics", None, &[]).status, 405);
    let admin = watcher.with_token(Some(node::TOKEN));
    admin.post("/v1/keys/stores/encrypt", &json!({"plaintext": "aGk="})).expect(200);
    // Nobody's scrape is an operation on record.
    let log = std::fs::read_to_string(node.folder().join("data/audit/audit.log")).unwrap();
    assert!(!log.contains("metrics"), "{log}");
}
