//! Failures of strangers, and what is only counted.

use claviger_tests::Node;
use serde_json::json;

use super::wait_until;

#[test]
fn strangers_can_not_fill_the_log() {
    let node = Node::start();
    let stranger = node.client().with_token(Some("clv_nobody_0123456789"));
    for _ in 0..500 {
        stranger.get("/v1/keys").refused(401, "unauthorized");
    }
    let failed = |node: &Node| {
        let mut records = node.records();
        records.retain(|record| record["event"] == "auth_failed");
        records
    };
    let first = failed(&node);
    assert!(first.len() <= 2, "{first:?}");
    assert_eq!((&first[0]["address"], &first[0]["actor"]), (&json!("127.0.0.1"), &json!("anonymous")));
    wait_until(|| {
        let times: u64 = failed(&node).iter().map(|record| record["times"].as_u64().unwrap_or(1)).sum();
        times == 500
    });
}

/// P6 is given up knowingly, and every place that an operator looks at says so.
#[test]
fn uses_may_be_counted_only() {
    let node = Node::with(&[("CLAVIGER_AUDIT__LEVEL", "control")]);
    let client = node.client();
    client.post("/v1/keys", &json!({"name": "k", "type": "aes256-gcm"})).expect(201);
    for _ in 0..50 {
        client.post("/v1/keys/k/encrypt", &json!({"plaintext": "aGk="})).expect(200);
    }
    client.with_token(None).get("/v1/keys").refused(401, "unauthorized");
    wait_until(|| {
        let records = node.records();
        let counted = records.iter().filter(|record| record["event"] == "operations_counted");
        counted.filter_map(|record| record["counts"]["key.encrypt"].as_u64()).sum::<u64>() == 50
    });
    let records = node.records();
    assert!(records.iter().all(|record| record["event"] != "encrypt"));
    assert!(records.iter().any(|record| record["event"] == "key_created"));
    assert!(records.iter().any(|record| record["event"] == "auth_failed"));
    assert_eq!(records[0]["level"], "control");
    let health = client.get("/health").expect(200);
    assert_eq!(
        (&health["status"], &health["dependencies"]["audit_log"]["status"]),
        (&json!("degraded"), &json!("degraded"))
    );
}
