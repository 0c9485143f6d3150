//! `claviger api-keys` and `claviger policies`.

use claviger_entity::Scope;
use claviger_tests::{Node, node};
use serde_json::json;

use super::{on, run};

#[test]
fn api_keys_are_made_replaced_and_deleted() {
    let node = Node::start();
    let line = "api-keys create reader --role verifier --role auditor --expires-at 2099-01-31T00:00:00Z";
    let made = on(&node, line, b"").json();
    assert_eq!(made["roles"], json!(["verifier", "auditor"]));
    let (id, secret) = (made["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    let url = format!("http://{}", node.address());
    let under = |secret: &str, line: &[&str], input: &[u8]| {
        run(node.folder(), line, input, &[("CLAVIGER_URL", &url), ("CLAVIGER_TOKEN", secret)])
    };
    let token = on(&node, "tokens issue", b"").output;
    under(secret, &["tokens", "verify"], &token).json();
    // Forbidden, or hidden: either way there is no token.
    under(secret, &["tokens", "issue"], b"").refused("");
    let listed = on(&node, "api-keys list", b"");
    assert!(listed.text().contains(id) && !listed.text().contains(secret), "{}", listed.text());

    let renewed = on(&node, &format!("api-keys rotate {id} --overlap 1h"), b"").json();
    let renewed = renewed["secret"].as_str().unwrap();
    assert_ne!(renewed, secret);
    under(secret, &["tokens", "verify"], &token).json();
    under(renewed, &["tokens", "verify"], &token).json();
    on(&node, &format!("api-keys rotate {id}"), b"").json();
    under(renewed, &["tokens", "verify"], &token).refused("unauthorized: ");

    let deleted = on(&node, &format!("api-keys delete {id}"), b"");
    assert_eq!((deleted.code, deleted.output.len(), deleted.error.as_str()), (Some(0), 0, ""));
    on(&node, &format!("api-keys delete {id}"), b"").refused("not_found: ");
    assert!(!node.log().contains(node::TOKEN) && !node.log().contains(renewed));
}

#[test]
fn devices_are_approved_and_removed() {
    let node = Node::start();
    let gate = crate::devices::gate(&node);
    let scopes = [Scope::OperatorRead, Scope::OperatorAdmin];
    let asked = gate.request(crate::devices::device(1), &scopes).unwrap().request_id;
    let waiting = on(&node, "devices requests", b"").json();
    assert_eq!(waiting["items"][0]["id"], json!(asked));
    let approved =
        on(&node, &format!("devices approve {asked} --scope operator.read --no-roles"), b"").json();
    let grant = &approved["grants"][0];
    assert_eq!((&grant["scopes"], &grant["roles"]), (&json!(["operator.read"]), &json!([])));
    assert_eq!(on(&node, "devices list", b"").json()["items"], json!([approved]));
    let id = approved["id"].as_str().unwrap();
    let rotated = on(&node, &format!("devices rotate-token {id}"), b"").json();
    assert!(rotated["token"].as_str().unwrap().starts_with("clvd_"));
    let revoked = on(&node, &format!("devices revoke-token {id} --role operator"), b"").json();
    assert_eq!(revoked["grants"][0]["token"]["state"], "revoked");
    on(&node, &format!("devices rotate-token {id} --role node"), b"").refused("not_found: ");
    let more = gate.request(crate::devices::device(1), &[Scope::OperatorAdmin]).unwrap().request_id;
    assert_eq!(on(&node, &format!("devices reject {more}"), b"").code, Some(0));
    let removed = on(&node, &format!("devices remove {id}"), b"");
    assert_eq!((removed.code, removed.output.len()), (Some(0), 0));
    on(&node, &format!("devices remove {id}"), b"").refused("not_found: ");
}

#[test]
fn policies_are_written_read_and_deleted() {
    const POLICY: &str = "permit (\n    principal in Claviger::Role::\"shop\",\n    action in Claviger::Action::\"encrypting\",\n    \
                          resource\n) when { resource.name like \"shop-*\" };\n";
    let node = Node::start();
    on(&node, "policies put shop --file -", POLICY.as_bytes()).json();
    assert_eq!(on(&node, "policies get shop", b"").text(), POLICY);
    // What was printed can be put again.
    std::fs::write(node.folder().join("shop.cedar"), on(&node, "policies get shop", b"").output).unwrap();
    on(&node, "policies put shop --file shop.cedar", b"").json();
    assert_eq!(on(&node, "policies list", b"").json()["items"].as_array().unwrap().len(), 1);
    on(&node, "policies put bad --file -", b"permit (nonsense);").refused("invalid_request: ");
    let deleted = on(&node, "policies delete shop", b"");
    assert_eq!((deleted.code, deleted.output.len()), (Some(0), 0));
    on(&node, "policies get shop", b"").refused("not_found: ");
}
