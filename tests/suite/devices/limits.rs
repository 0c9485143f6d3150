//! What an approver can give, and what a flood of requests can take.

use claviger_entity::{DeviceRole, Scope};
use claviger_tests::{Node, cluster::at_once};
use serde_json::json;

use super::{approve, device, gate, id, listed, pair};
use crate::access::{api_key, put_policy};

/// Nobody gives a device what they do not hold: it could be theirs.
#[test]
fn nobody_hands_a_device_more_than_they_hold() {
    let node = Node::start();
    let (admin, gate) = (node.client(), gate(&node));
    put_policy(
        &admin,
        "pairers",
        "permit (principal in Claviger::Role::\"pairer\", action in [Claviger::Action::\"device.read\",
           Claviger::Action::\"device.pair\", Claviger::Action::\"device.token\"], resource);",
    );
    let (_, pairer) = api_key(&admin, &["pairer", "operator.read"]);
    let ask = |number, scopes: &[Scope]| gate.request(device(number), scopes).unwrap().request_id;

    let more = ask(1, &[Scope::OperatorRead, Scope::OperatorWrite]);
    approve(&pairer, &more, &json!({})).refused(403, "forbidden");
    approve(&pairer, &more, &json!({"roles": ["admin"]})).refused(403, "forbidden");
    approve(&pairer, &more, &json!({"roles": ["signer"]})).refused(403, "forbidden");
    assert_eq!(listed(&pairer, "/v1/devices/requests").len(), 1, "a refusal settles nothing");
    approve(&pairer, &more, &json!({"scopes": ["operator.read"]})).expect(200);
    // Scopes without roles give no right.
    approve(&pairer, &ask(2, &[Scope::OperatorAdmin]), &json!({"roles": []})).expect(200);
    approve(&pairer, &ask(3, &[]), &json!({"roles": ["pairer"]})).expect(200);

    // Neither by way of a token of somebody else's device.
    pair(&admin, &gate, 4, &[Scope::OperatorAdmin]);
    let rotate = |number| format!("/v1/devices/{}/tokens/operator/rotate", id(number));
    pairer.post(&rotate(4), &json!({})).refused(403, "forbidden");
    pairer.post(&rotate(1), &json!({})).expect(200);
    // To take away is no gift.
    pairer.post(&format!("/v1/devices/{}/tokens/operator/revoke", id(4)), &json!({})).expect(200);
    assert_eq!(pairer.delete(&format!("/v1/devices/{}", id(4))).status, 204);

    // Who ends gives nothing that goes on.
    let body = json!({"name": "brief", "roles": ["pairer"], "expires_at": "2099-01-01T00:00:00Z"});
    let brief = admin.post("/v1/api-keys", &body).expect(201);
    let brief = admin.with_token(brief["secret"].as_str());
    let asked = ask(5, &[]);
    approve(&brief, &asked, &json!({})).refused(403, "forbidden");
    // Nor what a policy gives to devices alone.
    put_policy(&admin, "fleet", "permit (principal is Claviger::Device, action, resource);");
    approve(&pairer, &asked, &json!({})).refused(403, "forbidden");
    approve(&admin, &asked, &json!({})).expect(200);
}

/// A flood fills the places of whoever floods, and puts nobody out.
#[test]
fn a_flood_of_requests_takes_nobody_elses_place() {
    let node = Node::start();
    let (admin, gate) = (node.client(), gate(&node));
    let before = gate.request(device(1), &[Scope::OperatorRead]).unwrap();
    let key = |number: u16| {
        let mut key = [9; 32];
        key[..2].copy_from_slice(&number.to_be_bytes());
        key
    };
    let ask = |number: u16, actor: &str, address: &str| {
        gate.request_from(key(number), DeviceRole::Operator, &[], (actor, address))
    };
    for number in 0..64 {
        ask(number, "flood", "198.51.100.1").unwrap();
    }
    assert!(ask(64, "flood", "198.51.100.1").unwrap_err().contains("too many"));
    // Who waits may ask again, and others are taken.
    assert!(!ask(0, "flood", "198.51.100.1").unwrap().is_new);
    assert!(ask(65, "flood", "198.51.100.2").unwrap().is_new);
    assert_eq!(listed(&admin, "/v1/devices/requests?limit=1000").len(), 66);
    approve(&admin, &before.request_id, &json!({})).expect(200);
    // Nothing of it moves the ring.
    let epoch = admin.get("/v1/devices").header("x-claviger-epoch").to_owned();
    at_once(4, |thread| {
        for number in 0..8_u16 {
            let number = 1_000 + 100 * u16::try_from(thread).unwrap() + number;
            let _pressed = ask(number, "flood", "198.51.100.3");
        }
    });
    assert_eq!(admin.get("/v1/devices").header("x-claviger-epoch"), epoch);
}
