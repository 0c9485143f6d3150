//! Devices come to one node, are approved on another, and are known on all.

use claviger_entity::{DeviceRole, Scope};
use claviger_tests::{
    Cluster, Gate,
    cluster::at_once,
    gate::At,
    process::{PATIENCE, until},
};
use serde_json::{Value, json};

use super::{approve, device, id, listed, pair};

const OPERATOR: DeviceRole = DeviceRole::Operator;

fn gates(cluster: &Cluster, count: usize) -> Vec<Gate> {
    let url = cluster.postgres.url();
    at_once(count, |number| Gate::open(At::Server(url.clone()), &format!("gate-{number}")))
}

#[test]
fn any_node_settles_what_another_took() {
    let cluster = Cluster::start(3, &[]);
    let gates = gates(&cluster, 2);
    let [a, b, c] = [0, 1, 2].map(|node| cluster.client(node));
    let pending = gates[0].request(device(1), &[Scope::OperatorRead]).unwrap();
    for client in [&a, &b, &c] {
        assert_eq!(listed(client, "/v1/devices/requests")[0]["id"], json!(pending.request_id));
    }
    // Another node took the device's second attempt: it is the same request.
    let again = gates[1].request(device(1), &[Scope::OperatorRead]).unwrap();
    assert_eq!((again.request_id, again.is_new), (pending.request_id, false));
    let approved = approve(&b, &pending.request_id, &json!({})).expect(200);
    for client in [&a, &b, &c] {
        let known = || (listed(client, "/v1/devices") == [approved.clone()]).then_some(());
        until(PATIENCE, known).unwrap();
        assert_eq!(listed(client, "/v1/devices/requests"), Vec::<Value>::new());
    }
    // The first token is handed out once, however many nodes the device comes to at once.
    let taken = at_once(2, |gate| gates[gate].take(device(1), OPERATOR).unwrap());
    assert_eq!(taken.iter().flatten().count(), 1, "{}", taken.len());
    // What one node has changed, another goes on with.
    c.post(&format!("/v1/devices/{}/tokens/operator/rotate", id(1)), &json!({})).expect(200);
    a.post(&format!("/v1/devices/{}/tokens/operator/revoke", id(1)), &json!({})).expect(200);
    assert_eq!(gates[1].take(device(1), OPERATOR), Ok(None));
    assert_eq!(b.delete(&format!("/v1/devices/{}", id(1))).status, 204);
    for client in [&a, &c] {
        until(PATIENCE, || listed(client, "/v1/devices").is_empty().then_some(())).unwrap();
    }
}

/// Two nodes approve at once, or one approves while the other rejects: one of them has settled it, the other is told so.
#[test]
fn a_request_is_settled_once() {
    let cluster = Cluster::start(3, &[]);
    let gate = &gates(&cluster, 1)[0];
    let clients = [0, 1, 2].map(|node| cluster.client(node));
    for round in 0..8 {
        let pending = gate.request(device(round), &[Scope::OperatorRead]).unwrap().request_id;
        let answers = at_once(3, |node| {
            let what = if node == 2 { "reject" } else { "approve" };
            let path = format!("/v1/devices/requests/{pending}/{what}");
            clients[node].post(&path, &json!({"roles": []})).status
        });
        let settled = answers.iter().filter(|status| **status < 300).count();
        assert_eq!(settled, 1, "{answers:?}");
        assert_eq!(answers.iter().filter(|status| **status == 404).count(), 2, "{answers:?}");
        let is_paired = clients[0].get("/v1/devices").text.contains(&id(round));
        let expected = answers[2] >= 300;
        let known = || (clients[0].get("/v1/devices").text.contains(&id(round)) == expected).then_some(());
        assert!(until(PATIENCE, known).is_some(), "{is_paired} {answers:?}");
    }
}

/// A device that asks on two nodes at once waits once.
#[test]
fn a_device_waits_once() {
    let cluster = Cluster::start(1, &[]);
    let gates = gates(&cluster, 2);
    for round in 0..8 {
        let asked = at_once(2, |gate| gates[gate].request(device(round), &[Scope::OperatorRead]).unwrap());
        assert_eq!(asked[0].request_id, asked[1].request_id);
        assert!(asked[0].is_new != asked[1].is_new);
    }
    assert_eq!(listed(&cluster.client(0), "/v1/devices/requests").len(), 8);
}

/// The token that went out with a node that died is not handed out again; an operator rotates it.
#[test]
fn a_token_that_was_lost_on_the_way_is_rotated() {
    let mut cluster = Cluster::start(2, &[]);
    let mut gates = gates(&cluster, 2);
    let admin = cluster.client(1);
    pair(&admin, &gates[0], 1, &[]);
    let lost = gates[0].take(device(1), OPERATOR).unwrap().unwrap();
    drop(gates.remove(0));
    cluster.nodes[0].kill9();
    assert_eq!(gates[0].take(device(1), OPERATOR), Ok(None));
    let path = format!("/v1/devices/{}/tokens/operator/rotate", id(1));
    let rotated = admin.post(&path, &json!({})).expect(200);
    assert_ne!(rotated["token"].as_str(), Some(lost.as_str()));
}
