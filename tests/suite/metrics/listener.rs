//! The internal listener: no work on data holds it up.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use claviger_tests::{
    Node, Postgres, cluster, node,
    process::{PATIENCE, until},
};
use serde_json::json;

use super::{scrape, watched};

/// How long answers took at most while the data workers were busy.
struct Slowest {
    look: Duration,
    rotation: Duration,
}

/// Signs batches with RSA-4096 on every data worker, and asks the internal listener meanwhile.
fn while_workers_chew(node: &Node, threads: usize, retried: bool) -> Slowest {
    let client = node.client();
    let spec = json!({"name": "slow", "type": "rs512", "bits": 4096, "usage": "sign"});
    client.post("/v1/keys", &spec).expect(201);
    client.post("/v1/keys", &json!({"name": "quick", "type": "aes256-gcm"})).expect(201);
    let (chewing, sent) = (AtomicBool::new(true), AtomicUsize::new(0));
    let batch = json!({"batch": vec![json!({"input": "aGk="}); 100]}).to_string().into_bytes();
    let chew = || {
        while chewing.load(Ordering::Relaxed) {
            // Under a key of its own, so that each worker speaks to the database.
            let key = format!("batch-{}", sent.fetch_add(1, Ordering::Relaxed));
            let headers = [("idempotency-key", key.as_str())];
            let headers = if retried { &headers[..] } else { &[] };
            let answer = client.send("POST", "/v1/keys/slow/sign", Some(batch.clone()), headers);
            // Overload may be refused, but nothing else may go wrong.
            assert!(matches!(answer.status, 200 | 503), "{}", answer.text);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(chew);
        }
        let busy = || in_flight(node) >= threads as f64 / 2.0;
        until(PATIENCE, || busy().then_some(())).expect("busy workers");
        let watcher = node.internal();
        let admin = watcher.with_token(Some(node::TOKEN));
        let timed = |ask: &dyn Fn()| {
            let began = Instant::now();
            ask();
            began.elapsed()
        };
        let (mut look, mut rotation) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..10 {
            assert!(busy(), "the workers rest");
            for path in ["/health", "/readyz", "/metrics", "/v1/cluster"] {
                look = look.max(timed(&|| assert_eq!(admin.get(path).status, 200, "{path}")));
            }
            let force = json!({"force": true, "reason": "drill"});
            rotation = rotation.max(timed(&|| drop(admin.post("/v1/keys/quick/rotate", &force).expect(200))));
        }
        chewing.store(false, Ordering::Relaxed);
        Slowest { look, rotation }
    })
}

/// While every data worker signs batches, health, metrics and the control plane answer on the internal listener.
#[test]
fn the_internal_listener_answers_while_data_workers_chew() {
    let node = watched(&[("CLAVIGER_SERVER__WORKERS", "2")]);
    let Slowest { look, rotation } = while_workers_chew(&node, 4, false);
    let limit = Duration::from_millis(500);
    assert!(look < limit && rotation < limit, "look {look:?}, rotation {rotation:?}");
}

/// The same with a database that the workers speak to as well: no connection may depend on a busy one.
#[test]
fn connections_do_not_wait_while_data_workers_chew() {
    let postgres = Postgres::start();
    let node = cluster::node(&postgres.url(), 0, &[("CLAVIGER_SERVER__INTERNAL_LISTEN", "127.0.0.1:0")]);
    let Slowest { look, rotation } = while_workers_chew(&node, 16, true);
    let limit = Duration::from_millis(500);
    assert!(look < limit && rotation < limit, "look {look:?}, rotation {rotation:?}");
}

fn in_flight(node: &Node) -> f64 {
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
