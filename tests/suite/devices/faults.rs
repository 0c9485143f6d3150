//! Approvals that come late, twice, or from a node that died in between.

use claviger_entity::Scope;
use claviger_tests::{Node, clock};
use serde_json::{Value, json};

use super::{device, gate, id, listed, pair};

/// The node is later than the gate by longer than a request waits.
#[test]
fn an_approval_after_five_minutes_comes_too_late() {
    let node = clock::node(301, &[]);
    let (admin, gate) = (node.client(), gate(&node));
    let late = gate.request(device(1), &[Scope::OperatorRead]).unwrap().request_id;
    assert_eq!(listed(&admin, "/v1/devices/requests"), Vec::<Value>::new());
    for what in ["approve", "reject"] {
        let path = format!("/v1/devices/requests/{late}/{what}");
        admin.post(&path, &json!({})).refused(404, "not_found");
    }
    assert_eq!(listed(&admin, "/v1/devices"), Vec::<Value>::new());
    let node = clock::node(120, &[]);
    pair(&node.client(), &super::gate(&node), 1, &[Scope::OperatorRead]);
}

/// Whoever asks twice because the first answer was lost gets the first answer, also from a node that was started again.
#[test]
fn a_retry_gets_the_same_answer_also_after_a_crash() {
    let mut node = Node::start();
    let gate = gate(&node);
    let pending = gate.request(device(1), &[Scope::OperatorRead]).unwrap().request_id;
    drop(gate);
    let approve = format!("/v1/devices/requests/{pending}/approve");
    let rotate = format!("/v1/devices/{}/tokens/operator/rotate", id(1));
    let ask = |node: &Node, path: &str| {
        node.client().send("POST", path, Some(b"{}".to_vec()), &[("Idempotency-Key", "one")])
    };
    let once = |node: &Node, path: &str, key: &str| {
        node.client().send("POST", path, Some(b"{}".to_vec()), &[("Idempotency-Key", key)]).expect(200)
    };
    let approved = ask(&node, &approve).expect(200);
    let rotated = once(&node, &rotate, "two");
    node.restart();
    assert_eq!(ask(&node, &approve).expect(200)["id"], approved["id"]);
    assert_eq!(once(&node, &rotate, "two")["token"], rotated["token"]);
    // The key stands for one request.
    ask(&node, &rotate).refused(400, "invalid_request");

    let events = listed(&node.client(), "/v1/audit");
    let approvals = events.iter().filter(|record| record["event"] == "device_approved").count();
    assert_eq!(approvals, 1);
}
