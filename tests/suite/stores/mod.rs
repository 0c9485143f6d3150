//! What is stored for others, from outside.

mod concurrency;
mod faults;
mod import;
mod isolation;
mod migration;
mod providers;
mod secrets;
mod thief;
mod tokens;
mod uses;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use claviger_tests::{Answer, Client, node};
use serde_json::Value;

/// PUT of JSON.
fn put(client: &Client, path: &str, body: &Value) -> Answer {
    client.send("PUT", path, Some(body.to_string().into_bytes()), &[])
}

/// PUT of JSON on a condition.
fn put_if(client: &Client, path: &str, body: &Value, condition: (&str, &str)) -> Answer {
    client.send("PUT", path, Some(body.to_string().into_bytes()), &[condition])
}

/// A request whose path goes out as it stands: clients put dots and encodings in order. Status and all of the answer.
fn raw(address: &str, token: &str, method: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no answer to {method} {path}: {text}")), text)
}

/// An API key of this name, and its secret.
fn named_key(admin: &Client, name: &str, roles: &[&str]) -> (Client, String) {
    let made = admin.post("/v1/api-keys", &serde_json::json!({"name": name, "roles": roles})).expect(201);
    let secret = made["secret"].as_str().unwrap().to_owned();
    (admin.with_token(Some(&secret)), secret)
}

/// How far the migration of a node is.
fn progress(client: &Client) -> Value {
    client.get("/v1/cluster").expect(200)["stores"].clone()
}

/// Rotates the key that everything is sealed under.
fn rotate(client: &Client) {
    let body = serde_json::json!({"force": true, "reason": "drill"});
    client.post("/v1/keys/stores/rotate", &body).expect(200);
}

/// Waits until every row is under the primary.
fn wait_until_moved(client: &Client) {
    let done = || (progress(client)["pending"] == 0).then_some(());
    claviger_tests::process::until(node_patience(), done).unwrap_or_else(|| panic!("{}", progress(client)));
}

const fn node_patience() -> std::time::Duration {
    std::time::Duration::from_secs(60)
}

/// The administrator's token.
const ADMIN: &str = node::TOKEN;
