//! What is left when something is lost: backups, restores, and the recovery table of docs/recovery.md with its times.

mod damage;
mod disasters;
mod held_back;
mod load;
mod moving;
mod schedule;
mod shares;
mod volume;

use std::{fs, path::Path};

use claviger_tests::{Client, Node, node};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cli::{Ran, run};

const MASTER: (&str, &str) = ("CLAVIGER_SEAL__MASTER_KEY", node::MASTER);
const PASSPHRASE: &str = "correct horse battery staple";

/// A folder with a passphrase in it, and an identity with its recipient.
struct Safe {
    folder: TempDir,
    recipient: String,
}

impl Safe {
    fn new() -> Self {
        use age::secrecy::ExposeSecret as _;
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("passphrase"), format!("{PASSPHRASE}\n")).unwrap();
        let identity = age::x25519::Identity::generate();
        fs::write(folder.path().join("identity"), identity.to_string().expose_secret()).unwrap();
        Self { folder, recipient: identity.to_public().to_string() }
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// `claviger backup` under the passphrase.
    fn backup(&self, folder: &Path, environment: &[(&str, &str)], name: &str) -> Value {
        let (file, passphrase) = (self.file(name), self.file("passphrase"));
        let arguments = ["backup", "--output", &file, "--passphrase-file", &passphrase];
        run(folder, &arguments, b"", &[&[MASTER], environment].concat()).json()
    }

    /// `claviger restore` with the passphrase.
    fn restore(&self, folder: &Path, environment: &[(&str, &str)], (name, more): (&str, &[&str])) -> Ran {
        let (file, passphrase) = (self.file(name), self.file("passphrase"));
        let arguments = ["restore", "--input", &file, "--passphrase-file", &passphrase];
        run(folder, &[&arguments, more].concat(), b"", &[&[MASTER], environment].concat())
    }
}

/// What a deployment was asked to remember.
struct Remembered {
    /// Version by kid, as it was.
    versions: Vec<(String, String)>,
    tokens: Vec<Value>,
    revoked: Vec<Value>,
    pair: Value,
    ciphertexts: Vec<(String, Value, String)>,
    secrets: Vec<(String, String)>,
    api_key: String,
    policy: Value,
}

const SYMMETRIC: [&str; 2] = ["aes256-gcm", "fernet"];

/// Every kind of thing that a deployment keeps.
fn populate(client: &Client) -> Remembered {
    for (name, kind) in [("es", "es256"), ("ed", "eddsa"), ("hs", "hs256"), ("mac", "hmac-sha256")] {
        client.post("/v1/keys", &json!({"name": name, "type": kind})).expect(201);
    }
    client.post("/v1/keys/es/rotate", &json!({"force": true, "reason": "test"})).expect(200);
    let issue = |body: Value| client.post("/v1/tokens", &body).expect(201);
    let tokens: Vec<Value> =
        ["es", "ed", "hs"].iter().map(|key| issue(json!({"key": key, "subject": "alice"}))).collect();
    let mut revoked: Vec<Value> = (0..3).map(|_| issue(json!({"key": "es", "subject": "bob"}))).collect();
    client.post("/v1/tokens/revoke", &json!({"token": revoked[0]["token"]})).expect(200);
    client.post("/v1/tokens/revoke", &json!({"subject": "bob"})).expect(200);
    let gone = issue(json!({"key": "ed", "subject": "carol"}));
    client.post("/v1/keys/ed/rotate", &json!({"force": true, "reason": "test"})).expect(200);
    client.post("/v1/keys/ed/versions/1/compromise", &json!({"reason": "test"})).expect(200);
    revoked.push(gone);
    let mut ciphertexts = Vec::new();
    for kind in SYMMETRIC {
        let name = format!("data-{kind}");
        client.post("/v1/keys", &json!({"name": name, "type": kind})).expect(201);
        for text in ["b25l", "dHdv"] {
            let sealed = client.post(&format!("/v1/keys/{name}/encrypt"), &json!({"plaintext": text}));
            ciphertexts.push((name.clone(), sealed.expect(200)["ciphertext"].clone(), text.to_owned()));
            client
                .post(&format!("/v1/keys/{name}/rotate"), &json!({"force": true, "reason": "test"}))
                .expect(200);
        }
    }
    let put = |path: &str, body: &Value| client.send("PUT", path, Some(body.to_string().into_bytes()), &[]);
    let mut secrets = Vec::new();
    for number in 0..5 {
        let path = format!("/v1/secrets/alice/s{number}");
        for version in 0..=number {
            let value = format!("secret {number} ü\u{0} {version}");
            let status = put(&path, &json!({"value": value})).status;
            assert!((200..=201).contains(&status), "{status}");
            if version == number {
                secrets.push((path.clone(), value));
            }
        }
    }
    let text = "permit (principal in Claviger::Role::\"looker\", action == Claviger::Action::\"key.read\", resource);";
    put("/v1/policies/lookers", &json!({"policy": text})).expect(201);
    let made = client.post("/v1/api-keys", &json!({"name": "app", "roles": ["looker"]})).expect(201);
    Remembered {
        versions: versions(client),
        // Those that went with their version are among the revoked.
        tokens: [tokens[0].clone(), tokens[2].clone()].to_vec(),
        revoked: {
            revoked.push(tokens[1].clone());
            revoked
        },
        pair: issue(json!({"key": "es", "subject": "dave", "refresh": true})),
        ciphertexts,
        secrets,
        api_key: made["secret"].as_str().unwrap().to_owned(),
        policy: client.get("/v1/policies/lookers").expect(200),
    }
}

/// Kid and state of every version.
fn versions(client: &Client) -> Vec<(String, String)> {
    let keys = client.get("/v1/keys?limit=1000").expect(200);
    let mut all = Vec::new();
    for key in keys["items"].as_array().unwrap() {
        let name = key["name"].as_str().unwrap();
        let listed = client.get(&format!("/v1/keys/{name}/versions?limit=1000")).expect(200);
        for version in listed["items"].as_array().unwrap() {
            let text = |member: &str| version[member].as_str().unwrap().to_owned();
            all.push((text("kid"), text("state")));
        }
    }
    all.sort();
    all
}

/// Everything is as it was; what encrypts has gone on by one version since.
#[track_caller]
fn check(client: &Client, before: &Remembered) {
    let now = versions(client);
    for (kid, state) in &before.versions {
        let found = now.iter().find(|(known, _)| known == kid).unwrap_or_else(|| panic!("{kid} is gone"));
        let is_moved = matches!(
            (state.as_str(), found.1.as_str()),
            ("active", "deactivated") | ("pre_activation", "active" | "deactivated")
        );
        assert!(found.1 == *state || is_moved, "{kid}: {state}, now {}", found.1);
    }
    let verified =
        |token: &Value| client.post("/v1/tokens/verify", &json!({"token": token["token"]})).expect(200);
    for token in &before.tokens {
        assert_eq!(verified(token)["valid"], true, "{}", verified(token));
    }
    for token in &before.revoked {
        assert_eq!(verified(token)["valid"], false, "{token}");
    }
    for (name, ciphertext, text) in &before.ciphertexts {
        let opened = client.post(&format!("/v1/keys/{name}/decrypt"), &json!({"ciphertext": ciphertext}));
        assert_eq!(opened.expect(200)["plaintext"], text.as_str());
    }
    for (path, value) in &before.secrets {
        assert_eq!(client.get(path).expect(200)["value"], value.as_str());
    }
    assert_eq!(client.get("/v1/policies/lookers").expect(200), before.policy);
    client.with_token(Some(&before.api_key)).get("/v1/keys/es").expect(200);
    assert_eq!(verified(&before.pair)["valid"], true);
    let keys = client.get("/.well-known/jwks.json").expect(200);
    assert!(!keys["keys"].as_array().unwrap().is_empty());
}

fn release(client: &Client) {
    assert_eq!(client.post("/v1/restore/release", &json!({})).expect(200)["released"], true);
}

/// A node on a folder that was restored into.
fn serve(folder: TempDir) -> Node {
    Node::within(folder, &[])
}
