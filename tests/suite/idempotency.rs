//! The same `Idempotency-Key` gets the same answer, and nothing happens twice.

use claviger_tests::{Answer, Client, Node};
use serde_json::{Value, json};

fn post(client: &Client, path: &str, body: &Value, key: &str) -> Answer {
    client.send("POST", path, Some(body.to_string().into_bytes()), &[("Idempotency-Key", key)])
}

#[test]
fn a_retry_gets_the_first_answer_also_after_a_crash() {
    let mut node = Node::start();
    let client = node.client();
    let body = json!({"name": "k", "type": "es256"});
    let first = post(&client, "/v1/keys", &body, "a").expect(201);
    let force = json!({"force": true, "reason": "x"});
    let rotated = post(&client, "/v1/keys/k/rotate", &force, "b").expect(200);
    let token = post(&client, "/v1/tokens", &json!({}), "c").expect(201);
    node.restart();
    let client = node.client();
    assert_eq!(post(&client, "/v1/keys", &body, "a").expect(201), first);
    assert_eq!(post(&client, "/v1/keys/k/rotate", &force, "b").expect(200), rotated);
    assert_eq!(post(&client, "/v1/tokens", &json!({}), "c").expect(201), token);
    assert_eq!(client.get("/v1/keys/k").expect(200)["primary_version"], 2);
    assert_ne!(client.post("/v1/tokens", &json!({})).expect(201), token);
}

#[test]
fn a_key_stands_for_one_request_only() {
    let node = Node::start();
    let client = node.client();
    post(&client, "/v1/tokens", &json!({}), "a").expect(201);
    post(&client, "/v1/tokens", &json!({"subject": "x"}), "a").refused(400, "invalid_request");
    post(&client, "/v1/random", &json!({"bytes": 8}), "a").refused(400, "invalid_request");
    post(&client, "/v1/random", &json!({"bytes": 8}), &"k".repeat(256)).refused(400, "invalid_request");
    let refused = json!({"name": "a/b", "type": "es256"});
    post(&client, "/v1/keys", &refused, "b").refused(400, "invalid_request");
    post(&client, "/v1/keys", &json!({"name": "ab", "type": "es256"}), "b").expect(201);
}

#[test]
fn many_at_once_under_one_key_are_one() {
    let node = Node::start();
    let client = node.client();
    client.post("/v1/keys", &json!({"name": "k", "type": "hs256"})).expect(201);
    let force = json!({"force": true, "reason": "x"});
    let answers: Vec<Value> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| post(&client, "/v1/keys/k/rotate", &force, "one").expect(200)))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| answer["version"] == 2));
    assert_eq!(client.get("/v1/keys/k").expect(200)["primary_version"], 2);
}
