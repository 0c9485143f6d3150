//! Operations with keys: which key knows which, and what comes out.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use claviger_tests::{Client, Node};
use serde_json::{Value, json};

const HELLO: &str = "aGVsbG8=";

fn keys(client: &Client) {
    for (name, key_type, usage) in [
        ("token", "es256", "token"),
        ("jwe", "aes256-gcm", "token"),
        ("sign", "es256", "sign"),
        ("rsa", "rs256", "sign"),
        ("ed", "eddsa", "sign"),
        ("data", "aes256-gcm", "encrypt"),
        ("fernet", "fernet", "encrypt"),
        ("mac", "hmac-sha256", "mac"),
    ] {
        client.post("/v1/keys", &json!({"name": name, "type": key_type, "usage": usage})).expect(201);
    }
}

#[test]
fn each_usage_knows_its_operations_and_no_other() {
    let node = Node::start();
    let client = node.client();
    keys(&client);
    let bodies = [
        ("encrypt", json!({"plaintext": HELLO})),
        ("decrypt", json!({"ciphertext": "x"})),
        ("rewrap", json!({"ciphertext": "x"})),
        ("datakey", json!({})),
        ("sign", json!({"input": HELLO})),
        ("verify", json!({"input": HELLO, "signature": HELLO})),
        ("hmac", json!({"input": HELLO})),
    ];
    for key in ["token", "jwe", "sign", "rsa", "ed", "data", "fernet", "mac"] {
        let known: &[&str] = match key {
            "sign" | "rsa" | "ed" => &["sign", "verify"],
            "data" => &["encrypt", "decrypt", "rewrap", "datakey"],
            "fernet" => &["encrypt", "decrypt", "rewrap"],
            "mac" => &["hmac", "verify"],
            _ => &[],
        };
        for (operation, body) in &bodies {
            let answer = client.post(&format!("/v1/keys/{key}/{operation}"), body);
            if known.contains(operation) {
                assert!(!answer.text.contains("unsupported_operation"), "{key} {operation}: {}", answer.text);
            } else {
                answer.refused(400, "unsupported_operation");
            }
        }
        let issued = client.post("/v1/tokens", &json!({"key": key}));
        if ["token", "jwe"].contains(&key) {
            drop(issued.expect(201))
        } else {
            drop(issued.refused(400, "unsupported_operation"))
        }
    }
    client.post("/v1/keys/none/encrypt", &json!({"plaintext": HELLO})).refused(404, "key_not_found");
    client.post("/v1/keys/..%2f/encrypt", &json!({"plaintext": HELLO})).refused(404, "key_not_found");
}

#[test]
fn ciphertexts_name_their_key_and_keep_their_context() {
    let node = Node::start();
    let client = node.client();
    keys(&client);
    let sealed =
        client.post("/v1/keys/data/encrypt", &json!({"plaintext": HELLO, "context": "order 7"})).expect(200);
    let text = sealed["ciphertext"].as_str().unwrap();
    assert!(text.starts_with(&format!("clv:{}:", sealed["kid"].as_str().unwrap())));
    let open = |text: &str, context: Option<&str>| {
        client.post("/v1/keys/data/decrypt", &json!({"ciphertext": text, "context": context}))
    };
    assert_eq!(open(text, Some("order 7")).expect(200)["plaintext"], HELLO);
    for (text, context) in
        [(text, Some("order 8")), (text, None), ("clv:nope:AAAA", None), ("garbage", None), ("", None)]
    {
        open(text, context).refused(400, "decryption_failed");
    }
    client.post("/v1/keys", &json!({"name": "other", "type": "aes256-gcm"})).expect(201);
    let body = json!({"ciphertext": text, "context": "order 7"});
    client.post("/v1/keys/other/decrypt", &body).refused(400, "decryption_failed");
    let empty = client.post("/v1/keys/data/encrypt", &json!({"plaintext": ""})).expect(200);
    assert_eq!(open(empty["ciphertext"].as_str().unwrap(), None).expect(200)["plaintext"], "");
    client.post("/v1/keys/data/encrypt", &json!({"plaintext": "no base64!"})).refused(400, "invalid_request");
    client.post("/v1/keys/data/encrypt", &json!({})).refused(400, "invalid_request");
}

#[test]
fn data_keys_come_back_under_their_wrap() {
    let node = Node::start();
    let client = node.client();
    keys(&client);
    for bits in [128, 256, 512] {
        let made = client.post("/v1/keys/data/datakey", &json!({"bits": bits})).expect(200);
        assert_eq!(STANDARD.decode(made["plaintext"].as_str().unwrap()).unwrap().len(), bits / 8);
        let opened =
            client.post("/v1/keys/data/decrypt", &json!({"ciphertext": made["ciphertext"]})).expect(200);
        assert_eq!(opened["plaintext"], made["plaintext"]);
    }
    let wrapped = client.post("/v1/keys/data/datakey?wrapped_only=true", &json!({})).expect(200);
    assert!(wrapped.get("plaintext").is_none() && wrapped["ciphertext"].is_string());
    client.post("/v1/keys/data/datakey", &json!({"bits": 7})).refused(400, "invalid_request");
}

#[test]
fn signatures_and_codes() {
    let node = Node::start();
    let client = node.client();
    keys(&client);
    for (key, encoding, algorithm) in [
        ("sign", "jose", "ES256"),
        ("sign", "der", "ES256"),
        ("rsa", "jose", "RS256"),
        ("ed", "jose", "EdDSA"),
    ] {
        let path = |operation: &str| format!("/v1/keys/{key}/{operation}");
        let made = client.post(&path("sign"), &json!({"input": HELLO, "encoding": encoding})).expect(200);
        assert_eq!(made["algorithm"], algorithm);
        let mut body = json!({"input": HELLO, "signature": made["signature"], "encoding": encoding});
        let verdict = client.post(&path("verify"), &body).expect(200);
        assert_eq!((&verdict["valid"], &verdict["kid"]), (&json!(true), &made["kid"]));
        body["kid"] = json!("another");
        assert_eq!(client.post(&path("verify"), &body).expect(200)["valid"], false);
        body["kid"] = made["kid"].clone();
        body["input"] = json!("aGVsbG9v");
        assert_eq!(client.post(&path("verify"), &body).expect(200)["valid"], false);
    }
    client
        .post("/v1/keys/rsa/sign", &json!({"input": HELLO, "encoding": "der"}))
        .refused(400, "unsupported_operation");
    client
        .post("/v1/keys/sign/sign", &json!({"input": HELLO, "prehashed": true}))
        .refused(400, "invalid_request");
    let made = client.post("/v1/keys/mac/hmac", &json!({"input": HELLO})).expect(200);
    client.post("/v1/keys/mac/rotate", &json!({"force": true, "reason": "drill"})).expect(200);
    let verdict =
        client.post("/v1/keys/mac/verify", &json!({"input": HELLO, "hmac": made["hmac"]})).expect(200);
    assert_eq!((&verdict["valid"], &verdict["kid"]), (&json!(true), &made["kid"]));
    let wrong = client.post("/v1/keys/mac/verify", &json!({"input": HELLO, "hmac": "AAAA"})).expect(200);
    assert_eq!(wrong["valid"], false);
    client
        .post("/v1/keys/mac/verify", &json!({"input": HELLO, "signature": "AAAA"}))
        .refused(400, "invalid_request");
}

#[test]
fn fernet_helpers() {
    let node = Node::start();
    let client = node.client();
    keys(&client);
    let payload = json!({"user": 7, "roles": ["a"]});
    let sealed = client.post("/v1/keys/fernet/encrypt", &json!({"json": payload})).expect(200);
    let open = |extra: Value| {
        let mut body = json!({"ciphertext": sealed["ciphertext"]});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        client.post("/v1/keys/fernet/decrypt", &body)
    };
    assert_eq!(open(json!({"as": "json"})).expect(200)["json"], payload);
    assert!(open(json!({})).expect(200)["plaintext"].is_string());
    open(json!({"context": "x"})).refused(400, "unsupported_operation");
    client
        .post("/v1/keys/fernet/encrypt", &json!({"plaintext": HELLO, "context": "x"}))
        .refused(400, "unsupported_operation");
    client.post("/v1/keys/data/encrypt", &json!({"json": {}})).refused(400, "unsupported_operation");
    client
        .post("/v1/keys/fernet/decrypt", &json!({"ciphertext": "gAAAAA"}))
        .refused(400, "decryption_failed");
}

#[test]
fn batches_keep_order_and_have_an_error_for_each_item() {
    let node = Node::start();
    let client = node.client();
    keys(&client);
    let items: Vec<Value> =
        (0..1_000).map(|index| json!({"plaintext": STANDARD.encode(index.to_string())})).collect();
    let sealed = client.post("/v1/keys/data/encrypt", &json!({"batch": items})).expect(200);
    let mut sealed: Vec<Value> = sealed["batch"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| json!({"ciphertext": item["ciphertext"]}))
        .collect();
    sealed[3] = json!({"ciphertext": "garbage"});
    sealed[4] = json!({"nonsense": 1});
    let opened = client.post("/v1/keys/data/decrypt", &json!({"batch": sealed})).expect(200);
    for (index, item) in opened["batch"].as_array().unwrap().iter().enumerate() {
        match index {
            3 => assert_eq!(item["error"]["code"], "decryption_failed"),
            4 => assert_eq!(item["error"]["code"], "invalid_request"),
            _ => assert_eq!(item["plaintext"], STANDARD.encode(index.to_string())),
        }
    }
    let too_many: Vec<Value> = (0..1_001).map(|_| json!({"plaintext": HELLO})).collect();
    client.post("/v1/keys/data/encrypt", &json!({"batch": too_many})).refused(400, "invalid_request");
    client
        .post("/v1/keys/data/encrypt", &json!({"batch": [], "plaintext": HELLO}))
        .refused(400, "invalid_request");
    assert_eq!(client.post("/v1/keys/data/encrypt", &json!({"batch": []})).expect(200), json!({"batch": []}));
}

#[test]
fn random_bytes() {
    let node = Node::start();
    let client = node.client();
    let random = |bytes: u64| client.post("/v1/random", &json!({"bytes": bytes}));
    let (one, other) = (random(32).expect(200), random(32).expect(200));
    assert_eq!(STANDARD.decode(one["random"].as_str().unwrap()).unwrap().len(), 32);
    assert_ne!(one, other);
    for bytes in [0, 1 << 30] {
        random(bytes).refused(400, "invalid_request");
    }
}
