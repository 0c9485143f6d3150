//! P9: bad input is a 4xx with a stable code.

use claviger_tests::{Node, volume};
use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value, json};

#[derive(Debug)]
struct Bad {
    method: &'static str,
    path: String,
    body: Vec<u8>,
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|number| json!(number)),
        any::<f64>().prop_map(|number| json!(number)),
        ".{0,40}".prop_map(Value::String),
        Just(json!("aGVsbG8=")),
        Just(json!("es256")),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            proptest::collection::vec(("[a-z_]{1,12}", inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Bodies that are nearly right: known members with anything in them.
fn nearly() -> impl Strategy<Value = Value> {
    const MEMBERS: &[&str] = &[
        "name",
        "type",
        "usage",
        "rotation",
        "claims",
        "temporary",
        "labels",
        "plaintext",
        "ciphertext",
        "context",
        "input",
        "signature",
        "hmac",
        "kid",
        "token",
        "key",
        "expires_in",
        "audience",
        "subject",
        "batch",
        "bytes",
        "bits",
        "reason",
        "force",
        "exposure",
        "material",
        "legacy_secret",
        "recipient",
        "version",
        "as",
        "json",
        "description",
        "min_decryption_version",
    ];
    proptest::collection::vec((proptest::sample::select(MEMBERS), value()), 0..5).prop_map(|members| {
        Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    })
}

fn token() -> impl Strategy<Value = Value> {
    prop_oneof![
        "[A-Za-z0-9_.-]{0,200}",
        "eyJhbGciOiJFUzI1NiIsImtpZCI6I[A-Za-z0-9_-]{1,40}\\.[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,90}",
        "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoia2V5MSJ9\\.\\.[A-Za-z0-9_-]{16}\\.[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{22}",
        ".{0,100}",
    ]
    .prop_map(|token| json!({ "token": token }))
}

fn bad(paths: Vec<(&'static str, String)>) -> impl Strategy<Value = Bad> {
    let body = prop_oneof![
        3 => nearly().prop_map(|value| value.to_string().into_bytes()),
        1 => value().prop_map(|value| value.to_string().into_bytes()),
        1 => proptest::collection::vec(any::<u8>(), 0..200),
        1 => (1usize..5_000).prop_map(|depth| vec![b'['; depth]),
        2 => token().prop_map(|value| value.to_string().into_bytes()),
    ];
    let odd = prop_oneof![4 => Just(None), 1 => "[!-~]{0,30}".prop_map(Some)];
    (proptest::sample::select(paths), odd, body).prop_map(|((method, path), odd, body)| {
        let path = match odd {
            Some(odd) => path.replace(
                "{name}",
                &odd.replace(['#', '?', ' ', '"', '<', '>', '\\', '^', '`', '{', '|', '}'], "%25"),
            ),
            None => path.replace("{name}", "data"),
        };
        Bad { method, path: path.replace("{version}", "1"), body }
    })
}

#[test]
fn p9_malformed_requests_are_refused_and_break_nothing() {
    let node = Node::start();
    let client = node.client();
    client.post("/v1/keys", &json!({"name": "data", "type": "aes256-gcm"})).expect(201);
    let document = client.get("/openapi.json").expect(200);
    let mut paths = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (name, method) in [("post", "POST"), ("patch", "PATCH"), ("get", "GET"), ("delete", "DELETE")] {
            if methods.get(name).is_some() {
                // Without end otherwise.
                let path = if path == "/v1/events" { format!("{path}?follow=false") } else { path.clone() };
                paths.push((method, path));
            }
        }
    }
    let seed = rand::random::<[u8; 32]>();
    let mut runner =
        TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let strategy = bad(paths);
    for round in 0..volume(10_000) {
        let bad = strategy.new_tree(&mut runner).unwrap().current();
        let answer = client.try_send(bad.method, &bad.path, Some(bad.body.clone()), &[]);
        let answer = answer.unwrap_or_else(|| panic!("no answer in round {round} of seed {seed:?}: {bad:?}"));
        assert!(answer.status < 500, "seed {seed:?}: {bad:?}: {}", answer.text);
        if answer.status >= 400 {
            let problem = answer.json();
            assert!(problem["code"].is_string(), "{bad:?}: {}", answer.text);
        }
    }
    assert!(!node.log().contains("panic"), "{}", node.log());
    let sealed = client.post("/v1/keys/stores/encrypt", &json!({"plaintext": "aGVsbG8="})).expect(200);
    client.post("/v1/keys/stores/decrypt", &json!({"ciphertext": sealed["ciphertext"]})).expect(200);
}

#[test]
fn an_array_is_no_object() {
    let node = Node::start();
    let client = node.client();
    client.post("/v1/random", &json!([16])).refused(400, "invalid_request");
    client.post("/v1/keys", &json!(["data", "aes256-gcm"])).refused(400, "invalid_request");
    for member in ["rotation", "claims", "temporary"] {
        let key = json!({"name": "data", "type": "aes256-gcm", member: []});
        client.post("/v1/keys", &key).refused(400, "invalid_request");
    }
    for member in ["rotation", "claims"] {
        client.patch("/v1/keys/stores", &json!({member: [null, null]})).refused(400, "invalid_request");
    }
    let answer = client.post("/v1/keys/stores/encrypt", &json!({"batch": [["aGVsbG8="]]})).expect(200);
    assert_eq!(answer["batch"][0]["error"]["code"], "invalid_request");
}
