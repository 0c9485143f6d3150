//! `claviger audit list`, `keys` and `hash`.

use claviger_tests::Node;
use serde_json::json;

use super::on;

#[test]
fn what_is_on_record_is_asked_for() {
    let node = Node::start();
    for name in ["one", "two"] {
        node.client().post("/v1/keys", &json!({"name": name, "type": "hs256"})).expect(201);
    }
    let listed = |line: &str| on(&node, line, b"").json()["items"].as_array().unwrap().clone();
    let all = listed("audit list");
    assert_eq!(all.len(), node.client().get("/v1/audit").expect(200)["items"].as_array().unwrap().len());
    assert_eq!(listed("audit list --limit 1"), all[..1]);
    let found = listed("audit list --event key_created --key one --actor bootstrap-admin --outcome ok");
    assert_eq!((found.len(), &found[0]["key"]), (1, &json!("one")));
    assert!(listed("audit list --since 2999-01-01T00:00:00Z").is_empty());
    assert_eq!(listed("audit list --until 2999-01-01T00:00:00Z"), all);
    on(&node, "audit list --since yesterday", b"").refused("invalid_request: ");
    assert_eq!(on(&node, "audit keys", b"").json()["keys"].as_array().unwrap().len(), 2);
    // One newline at the end is the shell's; everything else is the value.
    let hash = on(&node, "audit hash", b"somebody\n").json();
    assert_eq!(hash, node.client().post("/v1/audit/hash", &json!({"value": "somebody"})).expect(200));
    assert_ne!(hash, on(&node, "audit hash", b"somebody \n").json());
    // The subject of a token is found by its hash, where it was issued and where it was verified, and is nowhere in clear.
    let client = node.client();
    let subject = "somebody@example.org";
    let issued = client.post("/v1/tokens", &json!({"subject": subject})).expect(201);
    client.post("/v1/tokens", &json!({"subject": "somebody else"})).expect(201);
    client.post("/v1/tokens", &json!({"claims": {"role": "r"}})).expect(201);
    client.post("/v1/tokens/verify", &json!({"token": issued["token"]})).expect(200);
    client.post("/v1/tokens/verify", &json!({"token": "nonsense"})).expect(200);
    let hash = on(&node, "audit hash", subject.as_bytes()).json()["hash"].clone();
    let records = node.records();
    let about = |record: &&serde_json::Value| record["sub_hash"] == hash;
    let found: Vec<_> =
        records.iter().filter(about).map(|record| record["event"].as_str().unwrap()).collect();
    assert_eq!(found, ["token_issued", "token_verified"]);
    assert_eq!(records.iter().filter(|record| record.get("sub_hash").is_some()).count(), 3);
    assert!(!format!("{records:?}").contains(subject));
    on(&node, "audit hash", b"\xff").refused("the input is no UTF-8 text");
}
