//! P6 and P7 against `kill -9`: whatever was answered is on record, and the chain holds up to its last whole line.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use claviger_actors::audit::verify::{Trust, verify};
use claviger_tests::{Node, process, volume};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::json;

/// Who asks at the same time.
const CLIENTS: usize = 8;

#[test]
fn p6_p7_what_was_answered_is_on_record_after_a_kill() {
    let seed = 7_391;
    let mut random = StdRng::seed_from_u64(seed);
    let mut node = Node::with(&[
        ("CLAVIGER_AUDIT__SEGMENT_BYTES", "65536"),
        ("CLAVIGER_AUDIT__CHECKPOINT_INTERVAL", "1s"),
    ]);
    node.client().post("/v1/keys", &json!({"name": "k", "type": "aes256-gcm"})).expect(201);
    let answered: Mutex<Vec<String>> = Mutex::default();
    let number = AtomicUsize::new(0);
    for round in 0..volume(100) {
        let client = node.client();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        let id = format!("r-{}", number.fetch_add(1, Ordering::Relaxed));
                        let body = json!({"plaintext": "aGVsbG8="}).to_string().into_bytes();
                        let headers = [("X-Request-Id", id.as_str())];
                        let answer = client.try_send("POST", "/v1/keys/k/encrypt", Some(body), &headers);
                        if answer.is_some_and(|answer| answer.status == 200) {
                            answered.lock().unwrap().push(id);
                        }
                    }
                });
            }
            process::pause(Duration::from_millis(random.random_range(20..400)));
            node.kill9();
            is_over.store(true, Ordering::Relaxed);
        });
        node.restart();
        let records = node.records();
        let recorded: BTreeSet<&str> =
            records.iter().filter_map(|record| record["request_id"].as_str()).collect();
        let answered = answered.lock().unwrap();
        for id in &*answered {
            assert!(recorded.contains(id.as_str()), "seed {seed}, round {round}: {id} is not on record");
        }
        let report = verify(&node.folder().join("data/audit"), &Trust::default(), |_, _| {}).unwrap();
        assert!(report.is_whole(), "seed {seed}, round {round}: {:?}", report.bad);
        let numbers: Vec<u64> = records.iter().map(|record| record["seq"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "seed {seed}, round {round}");
    }
    assert!(answered.lock().unwrap().len() > 500);
    // By the keys and checkpoints of the database.
    let verdict = node.client().post("/v1/audit/verify", &json!({})).expect(200);
    assert_eq!(verdict["valid"], true, "{verdict}");
    assert!(!node.records().iter().any(|record| record["event"] == "audit_broken"));
}
