//! Devices from outside: who lets them in, what they are given, and what becomes of it.

mod faults;
mod limits;
mod tampering;
mod together;
mod tokens;

use claviger_actors::devices::device_id;
use claviger_entity::Scope;
use claviger_tests::{Client, Gate, Node, gate::At, process};
use serde_json::{Value, json};

/// A gate beside a node with a file.
pub(crate) fn gate(node: &Node) -> Gate {
    Gate::open(At::File(node.database()), "gate")
}

/// A device's key; nothing here asks for the private half.
pub(crate) fn device(number: u8) -> [u8; 32] {
    [number; 32]
}

pub(crate) fn id(number: u8) -> String {
    device_id(&device(number)).to_string()
}

/// Leaves a request and approves it.
pub(crate) fn pair(admin: &Client, gate: &Gate, number: u8, scopes: &[Scope]) -> Value {
    let pending = gate.request(device(number), scopes).unwrap();
    approve(admin, &pending.request_id, &json!({})).expect(200)
}

pub(crate) fn approve(
    client: &Client,
    request: &impl std::fmt::Display,
    body: &Value,
) -> claviger_tests::Answer {
    client.post(&format!("/v1/devices/requests/{request}/approve"), body)
}

pub(crate) fn listed(client: &Client, path: &str) -> Vec<Value> {
    client.get(path).expect(200)["items"].as_array().unwrap().clone()
}

#[test]
fn a_device_asks_is_approved_and_removed() {
    let node = Node::start();
    let (admin, gate) = (node.client(), gate(&node));
    assert_eq!(listed(&admin, "/v1/devices/requests"), Vec::<Value>::new());
    let pending = gate.request(device(1), &[Scope::OperatorRead, Scope::OperatorWrite]).unwrap();
    assert!(pending.is_new);
    // Asking again is the same request, which lapses when it would have.
    let again = gate.request(device(1), &[Scope::OperatorWrite, Scope::OperatorRead]).unwrap();
    assert_eq!(
        (again.request_id, again.expires_at, again.is_new),
        (pending.request_id, pending.expires_at, false)
    );

    let waiting = listed(&admin, "/v1/devices/requests");
    assert_eq!(waiting.len(), 1);
    let waiting = &waiting[0];
    assert_eq!(waiting["id"], json!(pending.request_id));
    assert_eq!(waiting["device_id"], json!(id(1)));
    assert_eq!(waiting["scopes"], json!(["operator.read", "operator.write"]));
    assert_eq!((&waiting["role"], &waiting["address"]), (&json!("operator"), &json!("192.0.2.1")));
    assert_eq!((&waiting["granted_scopes"], &waiting["client"]["mode"]), (&Value::Null, &json!("backend")));
    let ago = |time: &Value| chrono::DateTime::parse_from_rfc3339(time.as_str().unwrap()).unwrap();
    assert_eq!((ago(&waiting["expires_at"]) - ago(&waiting["created_at"])).num_seconds(), 300);

    let body = json!({"scopes": ["operator.read"]});
    let approved = approve(&admin, &pending.request_id, &body).expect(200);
    let grant = &approved["grants"][0];
    assert_eq!((&approved["id"], &grant["role"]), (&json!(id(1)), &json!("operator")));
    assert_eq!((&grant["scopes"], &grant["roles"]), (&json!(["operator.read"]), &json!(["operator.read"])));
    assert_eq!(
        (&grant["token"]["state"], &grant["approved_by"]),
        (&json!("awaited"), &json!("bootstrap-admin"))
    );
    assert_eq!(listed(&admin, "/v1/devices"), [approved]);
    assert_eq!(listed(&admin, "/v1/devices/requests"), Vec::<Value>::new());
    // The message comes twice.
    approve(&admin, &pending.request_id, &body).refused(404, "not_found");
    let reject = format!("/v1/devices/requests/{}/reject", pending.request_id);
    admin.post(&reject, &json!({})).refused(404, "not_found");

    // Asking for more leaves a request, and what it had stays.
    let more = gate.request(device(1), &[Scope::OperatorAdmin]).unwrap();
    assert!(more.is_new && more.request_id != pending.request_id);
    assert_eq!(listed(&admin, "/v1/devices/requests")[0]["granted_scopes"], json!(["operator.read"]));
    // Asking for something else takes its place, in time: nobody approves what they have not seen, nor is what they look at pushed out at once.
    let asks = || gate.request(device(1), &[Scope::OperatorPairing]);
    for _ in 0..20 {
        assert!(asks().unwrap_err().contains("in 30 seconds"));
    }
    assert_eq!(listed(&admin, "/v1/devices/requests")[0]["id"], json!(more.request_id));
    let other = process::until(process::PATIENCE, || asks().ok()).unwrap();
    approve(&admin, &more.request_id, &json!({})).refused(404, "not_found");
    let reject = format!("/v1/devices/requests/{}/reject", other.request_id);
    assert_eq!(admin.post(&reject, &json!({})).status, 204);
    assert_eq!(listed(&admin, "/v1/devices")[0]["grants"][0]["scopes"], json!(["operator.read"]));

    gate.request(device(1), &[Scope::OperatorAdmin]).unwrap();
    assert_eq!(admin.delete(&format!("/v1/devices/{}", id(1))).status, 204);
    assert_eq!(listed(&admin, "/v1/devices"), Vec::<Value>::new());
    assert_eq!(listed(&admin, "/v1/devices/requests"), Vec::<Value>::new(), "what it asked for is gone too");
    admin.delete(&format!("/v1/devices/{}", id(1))).refused(404, "not_found");

    let events: Vec<String> = listed(&admin, "/v1/audit")
        .iter()
        .filter(|record| record["device"] == json!(id(1)) || record["asking_device"] == json!(id(1)))
        .map(|record| record["event"].as_str().unwrap().to_owned())
        .collect();
    for event in ["device_pairing_requested", "device_approved", "device_rejected", "device_removed"] {
        assert!(events.iter().any(|known| known == event), "{event}: {events:?}");
    }
}

#[test]
fn requests_to_the_routes_that_break_a_rule() {
    let node = Node::start();
    let (admin, gate) = (node.client(), gate(&node));
    let pending = gate.request(device(1), &[Scope::OperatorRead]).unwrap().request_id;
    for body in [
        json!({"scopes": ["operator.admin"]}),
        json!({"scopes": ["everything"]}),
        json!({"scopes": "operator.read"}),
        json!({"roles": ["no role"]}),
        json!({"roles": (0..17).map(|role| format!("r{role}")).collect::<Vec<_>>()}),
        json!({"scope": []}),
    ] {
        approve(&admin, &pending, &body).refused(400, "invalid_request");
    }
    let known = format!("{pending}");
    for path in [
        "/v1/devices/requests/x/approve".to_owned(),
        format!("/v1/devices/requests/{}/approve", uuid::Uuid::nil()),
        format!("/v1/devices/{}/tokens/operator/rotate", id(1)),
        format!("/v1/devices/{}/tokens/other/rotate", id(1)),
        format!("/v1/devices/{}/tokens/operator/revoke", id(1).to_uppercase()),
        format!("/v1/devices/{known}/tokens/operator/revoke"),
    ] {
        admin.post(&path, &json!({})).refused(404, "not_found");
    }
    // Both ways of writing an id name the request.
    let simple = pending.simple().to_string();
    approve(&admin, &simple, &json!({})).expect(200);
    for path in ["/v1/devices?cursor=AA", "/v1/devices/requests?cursor=AA", "/v1/devices/requests?limit=0"] {
        admin.get(path).refused(400, "invalid_request");
    }
}

#[test]
fn listings_come_in_pages() {
    let node = Node::start();
    let (admin, gate) = (node.client(), gate(&node));
    for number in 1..=5 {
        pair(&admin, &gate, number, &[]);
        gate.request(device(number), &[Scope::OperatorRead]).unwrap();
    }
    for path in ["/v1/devices", "/v1/devices/requests"] {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = admin.get(&format!("{path}?limit=2{cursor}")).expect(200);
            found.extend(page["items"].as_array().unwrap().clone());
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(found, listed(&admin, path));
        assert_eq!(found.len(), 5, "{path}");
    }
}
