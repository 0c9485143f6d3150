//! Device tokens: handed out once, replaced and revoked by operators, and good for nothing else.

use claviger_entity::{DeviceRole, Scope};
use claviger_tests::{Client, Node, needles::Needles};
use serde_json::{Value, json};

use super::{device, gate, id, listed, pair};

const OPERATOR: DeviceRole = DeviceRole::Operator;

fn token(admin: &Client, number: u8, what: &str) -> claviger_tests::Answer {
    admin.post(&format!("/v1/devices/{}/tokens/operator/{what}", id(number)), &json!({}))
}

fn state(admin: &Client) -> Value {
    listed(admin, "/v1/devices")[0]["grants"][0]["token"]["state"].clone()
}

#[test]
fn a_first_token_is_handed_out_once() {
    let node = Node::start();
    let (admin, gate) = (node.client(), gate(&node));
    assert_eq!(gate.take(device(1), OPERATOR), Ok(None), "nobody knows the device");
    pair(&admin, &gate, 1, &[Scope::OperatorRead]);
    assert_eq!(gate.take(device(1), DeviceRole::Node), Ok(None), "it is not paired for this");
    let first = gate.take(device(1), OPERATOR).unwrap().unwrap();
    assert!(first.starts_with("clvd_") && first.len() > 40, "{}", first.len());
    assert_eq!(gate.take(device(1), OPERATOR), Ok(None));
    // More scopes are no reason for another token.
    pair(&admin, &gate, 1, &[Scope::OperatorAdmin]);
    assert_eq!(gate.take(device(1), OPERATOR), Ok(None));
    assert_eq!(state(&admin), "issued");
    // It serves sessions, and is no bearer credential of these routes.
    admin.with_token(Some(&first)).get("/v1/keys").refused(401, "unauthorized");

    let rotated = token(&admin, 1, "rotate").expect(200);
    assert_eq!((&rotated["device_id"], &rotated["role"]), (&json!(id(1)), &json!("operator")));
    assert_ne!(rotated["token"].as_str(), Some(first.as_str()));
    assert_eq!(token(&admin, 1, "revoke").expect(200)["grants"][0]["token"]["state"], "revoked");
    token(&admin, 1, "revoke").expect(200);
    assert_eq!(gate.take(device(1), OPERATOR), Ok(None), "revoked stays revoked");
    // Also when the device is approved for more.
    pair(&admin, &gate, 1, &[Scope::OperatorWrite]);
    assert_eq!((gate.take(device(1), OPERATOR), state(&admin)), (Ok(None), json!("revoked")));
    token(&admin, 1, "rotate").expect(200);
    assert_eq!(state(&admin), "issued");

    // Whoever was removed and comes back is a new one.
    assert_eq!(admin.delete(&format!("/v1/devices/{}", id(1))).status, 204);
    token(&admin, 1, "rotate").refused(404, "not_found");
    pair(&admin, &gate, 1, &[]);
    assert!(gate.take(device(1), OPERATOR).unwrap().is_some());
}

/// A token that was rotated before the device came for its first one is the only one.
#[test]
fn a_rotation_takes_the_place_of_the_first_token() {
    let node = Node::start();
    let (admin, gate) = (node.client(), gate(&node));
    pair(&admin, &gate, 1, &[]);
    token(&admin, 1, "rotate").expect(200);
    assert_eq!(gate.take(device(1), OPERATOR), Ok(None));
    pair(&admin, &gate, 2, &[]);
    token(&admin, 2, "revoke").expect(200);
    assert_eq!(gate.take(device(2), OPERATOR), Ok(None));
}

/// P5: the database knows tokens by keyed hashes; logs and records do not know them.
#[test]
fn p5_no_device_token_is_kept() {
    let mut node = Node::start();
    let (admin, gate) = (node.client(), gate(&node));
    let mut needles = Needles::default();
    pair(&admin, &gate, 1, &[Scope::OperatorRead]);
    let taken = gate.take(device(1), OPERATOR).unwrap().unwrap();
    let path = format!("/v1/devices/{}/tokens/operator/rotate", id(1));
    let rotated = admin.send("POST", &path, None, &[("Idempotency-Key", "one")]).expect(200);
    for secret in [taken.as_str(), rotated["token"].as_str().unwrap()] {
        needles.add("device token", secret.as_bytes());
        needles.add("secret of a device token", secret.strip_prefix("clvd_").unwrap().as_bytes());
        let answer = admin.with_token(Some(secret)).get("/v1/devices");
        assert!(!answer.text.contains(secret));
        answer.refused(401, "unauthorized");
    }
    // A retry gets the same one.
    let again = admin.send("POST", &path, None, &[("Idempotency-Key", "one")]).expect(200);
    assert_eq!(again["token"], rotated["token"]);
    drop(gate);
    assert!(node.terminate().success());
    for file in ["data/claviger.db", "data/audit/audit.log", "stderr"] {
        let haystack = std::fs::read(node.folder().join(file)).unwrap();
        assert_eq!(needles.found_in(&haystack), Vec::<&str>::new(), "in {file}");
    }
}
