//! The OpenAPI document held against the service: what it says is accepted, refused and answered. Nothing is a 5xx, nothing undocumented.

use std::{path::Path, process::Command};

use claviger_tests::{Client, Node, node, volume};
use serde_json::json;

use crate::packages;

/// Cases for one operation and phase, at full volume.
const EXAMPLES: usize = 300;

/// Keys that paths may name: name, type, usage.
const KEYS: [(&str, &str, &str); 5] = [
    ("signer", "es256", "sign"),
    ("tokens", "rs256", "token"),
    ("data", "aes256-gcm", "encrypt"),
    ("session", "hmac-sha256", "mac"),
    ("legacy", "fernet", "encrypt"),
];

#[test]
fn schemathesis_finds_no_5xx_and_nothing_undocumented() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemathesis");
    let python = packages::python(&folder.join("requirements.txt"), "schemathesis");
    let node = Node::start();
    let own = populate(&node.client());
    let work = tempfile::tempdir().unwrap();
    let output = Command::new(python)
        .args(["-B", "-m", "schemathesis.cli", "--config-file"])
        .arg(folder.join("schemathesis.toml"))
        .args(["run", &format!("http://{}/openapi.json", node.address())])
        .args(["--header", &format!("Authorization: Bearer {}", node::TOKEN)])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", &volume(EXAMPLES).to_string()])
        .args(["--seed", "7420", "--generation-database", "none", "--continue-on-failure", "--no-color"])
        .env("PYTHONPATH", &folder)
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("OWN_API_KEY", own)
        .env("KEYS", KEYS.map(|(name, ..)| name).join(" "))
        .current_dir(work.path())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    assert_eq!(node.client().get("/health").expect(200)["status"], "healthy");
    // A run whose credential was refused has seen nothing but the door.
    let _still_ours = node.client().get("/v1/keys").expect(200);
    assert!(!node.log().contains("panic"), "{}", node.log());
}

/// Keys of several types, an API key and a policy, so that paths with parameters have something to name; the id of the run's own
/// API key.
fn populate(client: &Client) -> String {
    for (name, kind, usage) in KEYS {
        let key =
            json!({"name": name, "type": kind, "usage": usage, "deletion_allowed": true, "exportable": true});
        client.post("/v1/keys", &key).expect(201);
    }
    let own = client.get("/v1/api-keys").expect(200)["items"][0]["id"].as_str().unwrap().to_owned();
    client.post("/v1/api-keys", &json!({"name": "shop", "roles": ["signer"]})).expect(201);
    let policy = b"permit (principal in Claviger::Role::\"shop\", action, resource);".to_vec();
    client.send("PUT", "/v1/policies/shop", Some(policy), &[]).expect(201);
    own
}
