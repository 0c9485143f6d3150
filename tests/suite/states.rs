//! States of versions, and what each may do.

use claviger_tests::{Client, Node};
use serde_json::{Value, json};

fn change(client: &Client, key: &str, version: u32, what: &str) -> claviger_tests::Answer {
    client.post(&format!("/v1/keys/{key}/versions/{version}/{what}"), &json!({"reason": "drill"}))
}

fn states(client: &Client, key: &str) -> Vec<String> {
    let mut states: Vec<String> = client.get(&format!("/v1/keys/{key}")).expect(200)["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|version| version["state"].as_str().unwrap().to_owned())
        .collect();
    states.reverse();
    states
}

fn verdict(client: &Client, token: &Value) -> Value {
    client.post("/v1/tokens/verify", &json!({"token": token})).expect(200)
}

#[test]
fn a_token_key_through_all_states() {
    let node = Node::start();
    let client = node.client();
    client.post("/v1/keys", &json!({"name": "k", "type": "es256"})).expect(201);
    let token = client.post("/v1/tokens", &json!({"key": "k"})).expect(201)["token"].clone();
    change(&client, "k", 1, "destroy").refused(409, "key_state_conflict");
    change(&client, "k", 2, "destroy").refused(409, "key_state_conflict");
    change(&client, "k", 7, "suspend").refused(404, "version_not_found");
    client.post("/v1/keys/k/versions/1/suspend", &json!({})).refused(400, "invalid_request");
    client.post("/v1/keys/k/versions/1/suspend", &json!({"reason": " "})).refused(400, "invalid_request");

    assert_eq!(change(&client, "k", 1, "suspend").expect(200)["version"], 1);
    assert_eq!(states(&client, "k"), ["suspended", "active", "pre_activation"]);
    assert_eq!(verdict(&client, &token)["code"], "key_not_usable");
    change(&client, "k", 1, "resume").expect(200);
    assert_eq!(states(&client, "k"), ["deactivated", "active", "pre_activation"]);
    assert_eq!(verdict(&client, &token)["valid"], true);
    change(&client, "k", 1, "resume").refused(409, "key_state_conflict");
    change(&client, "k", 1, "compromise").expect(200);
    assert_eq!(verdict(&client, &token)["code"], "key_not_usable");
    let jwks = client.get("/.well-known/jwks.json").expect(200);
    let kid = client.get("/v1/keys/k/versions?cursor=Mg").expect(200)["items"][0]["kid"].clone();
    assert!(jwks["keys"].as_array().unwrap().iter().all(|key| key["kid"] != kid));
    change(&client, "k", 1, "destroy").expect(200);
    assert_eq!(verdict(&client, &token)["code"], "key_not_usable");
    change(&client, "k", 1, "destroy").refused(409, "key_state_conflict");
}

#[test]
fn a_leaked_store_replaces_the_standby_first() {
    let node = Node::start();
    let client = node.client();
    client.post("/v1/keys", &json!({"name": "k", "type": "rs256"})).expect(201);
    let body = json!({"reason": "stolen backup", "exposure": "store"});
    client.post("/v1/keys/k/versions/1/compromise", &body).expect(200);
    assert_eq!(states(&client, "k")[..3], ["compromised", "compromised", "active"]);
}

#[test]
fn data_under_a_compromised_version_can_be_rescued() {
    let node = Node::start();
    let client = node.client();
    for key_type in ["aes256-gcm", "fernet"] {
        client.post("/v1/keys", &json!({"name": key_type, "type": key_type})).expect(201);
        let path = |operation: &str| format!("/v1/keys/{key_type}/{operation}");
        let ciphertext =
            client.post(&path("encrypt"), &json!({"plaintext": "aGVsbG8="})).expect(200)["ciphertext"]
                .clone();
        change(&client, key_type, 1, "compromise").expect(200);
        let refused = client.post(&path("decrypt"), &json!({"ciphertext": ciphertext}));
        assert!((400..500).contains(&refused.status), "{}", refused.text);
        let rescued =
            client.post(&path("decrypt"), &json!({"ciphertext": ciphertext, "allow_compromised": true}));
        assert_eq!(rescued.expect(200)["plaintext"], "aGVsbG8=");
    }
}

#[test]
fn an_operator_ends_old_versions_of_a_data_key() {
    let node = Node::start();
    let client = node.client();
    client.post("/v1/keys", &json!({"name": "k", "type": "aes256-gcm"})).expect(201);
    let old = client.post("/v1/keys/k/encrypt", &json!({"plaintext": "aGVsbG8="})).expect(200)["ciphertext"]
        .clone();
    client.post("/v1/keys/k/rotate", &json!({"force": true, "reason": "drill"})).expect(200);
    let new = client.post("/v1/keys/k/rewrap", &json!({"ciphertext": old})).expect(200);
    client.patch("/v1/keys/k", &json!({"min_decryption_version": 2})).expect(200);
    client.post("/v1/keys/k/decrypt", &json!({"ciphertext": old})).refused(409, "key_state_conflict");
    let read = client.post("/v1/keys/k/decrypt", &json!({"ciphertext": new["ciphertext"]})).expect(200);
    assert_eq!((&read["plaintext"], &read["kid"]), (&json!("aGVsbG8="), &new["kid"]));
}

#[test]
fn a_temporary_key_carries_one_message() {
    let node = Node::start();
    let client = node.client();
    let created = client
        .post("/v1/keys", &json!({"name": "t", "type": "aes256-gcm", "temporary": {"session": "s1"}}))
        .expect(201);
    assert_eq!(
        (created["tier"].as_str(), created["versions"].as_array().unwrap().len()),
        (Some("temporary"), 1)
    );
    let sealed = client.post("/v1/keys/t/encrypt", &json!({"plaintext": "aGVsbG8="})).expect(200);
    client.post("/v1/keys/t/encrypt", &json!({"plaintext": "aGVsbG8="})).refused(409, "key_state_conflict");
    let open = json!({"ciphertext": sealed["ciphertext"]});
    client.post("/v1/keys/t/decrypt", &open).expect(200);
    client.post("/v1/keys/t/decrypt", &open).refused(409, "key_state_conflict");
    assert_eq!(states(&client, "t"), ["destroyed"]);
    client
        .post("/v1/keys/t/rotate", &json!({"force": true, "reason": "x"}))
        .refused(400, "unsupported_operation");

    client
        .post(
            "/v1/keys",
            &json!({"name": "short", "type": "hs256", "temporary": {"expires_in": "1s", "uses": 5}}),
        )
        .expect(201);
    super::keys::wait_until(|| states(&client, "short") == ["destroyed"]);
    client.post("/v1/tokens", &json!({"key": "short"})).refused(409, "key_state_conflict");
}
