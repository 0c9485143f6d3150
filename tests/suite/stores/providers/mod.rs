//! Tokens of third parties at their providers: fetched, refreshed, revoked, verified.

mod cluster;
mod hostile;
mod kept;
mod life;
mod peer;
mod verify;

use chrono::{DateTime, TimeDelta, Utc};
use claviger_tests::{Answer, Client, Issuer, Node};
use serde_json::{Value, json};

use super::put;

/// Where the provider of a test gives tokens.
const TOKEN: &str = "/token";
/// Where the tokens of a test are.
const PATH: &str = "/v1/auth-tokens/alice/idp";
const SECRET: &str = "client-secret-of-the-test-4c1f";

/// The setting that names one provider `idp`, with further members.
fn providers(issuer: &Issuer, more: &Value) -> String {
    let mut idp = json!({"token_endpoint": issuer.at(TOKEN), "client_id": "app", "client_secret": SECRET});
    idp.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "idp": idp }).to_string()
}

fn node(issuer: &Issuer, more: &Value) -> Node {
    Node::with(&[
        ("CLAVIGER_PROVIDERS", &providers(issuer, more)),
        ("CLAVIGER_SERVER__INTERNAL_LISTEN", "127.0.0.1:0"),
    ])
}

/// So many seconds from now.
#[expect(clippy::disallowed_methods, reason = "the service goes by the machine's clock")]
fn at(seconds: i64) -> DateTime<Utc> {
    Utc::now() + TimeDelta::seconds(seconds)
}

/// Writes the pair `a0`, `r0` whose access token ends so.
fn seed(client: &Client, path: &str, seconds: i64) -> Answer {
    put(client, path, &json!({"access_token": "a0", "refresh_token": "r0", "access_expires_at": at(seconds)}))
}

/// Operations on record, and how they ended.
fn recorded(node: &Node, event: &str) -> usize {
    node.records().iter().filter(|record| record["event"] == event && record["outcome"] == "ok").count()
}
