//! Who may do what, from outside.

mod abuse;
mod certificates;
mod certified;
mod credentials;
mod issuers;
mod issuers_hostile;
mod issuers_peer;
pub(crate) mod peer;
mod roles;
mod scopes;
mod tampering;

use claviger_tests::Client;
use serde_json::json;

/// A new API key's id, and a client that presents it.
pub(crate) fn api_key(admin: &Client, roles: &[&str]) -> (String, Client) {
    let made = admin.post("/v1/api-keys", &json!({"name": "test", "roles": roles})).expect(201);
    let text = |member: &str| made[member].as_str().unwrap().to_owned();
    (text("id"), admin.with_token(Some(&text("secret"))))
}

/// Writes a policy as its text alone.
pub(crate) fn put_policy(admin: &Client, name: &str, text: &str) {
    let answer = admin.send("PUT", &format!("/v1/policies/{name}"), Some(text.as_bytes().to_vec()), &[]);
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text);
}
