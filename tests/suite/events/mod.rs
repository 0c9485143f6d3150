//! What is told, to whom, and that nothing of it is missed.

mod history;
mod scale;
mod sharing;
mod stream;

use std::time::Duration;

use claviger_tests::{Client, Postgres, listener::Told};
use serde_json::{Value, json};

const LONG: Duration = Duration::from_secs(60);

/// An event by what tells it from all others: epoch, name and version.
pub(crate) type Seen = (u64, String, String, u64);

/// The events that the change log in the database stands for, behind an epoch.
pub(crate) fn log(postgres: &Postgres, after: u64) -> Vec<Seen> {
    let text = postgres.psql(&format!(
        "SELECT epoch, kind, key_name, version FROM changes WHERE epoch > {after} AND key_name NOT LIKE '~%' AND kind IN \
         ('key.created', 'key.rotated', 'key.suspended', 'key.resumed', 'key.compromised', 'key.destroyed') \
         ORDER BY epoch, ordinal"
    ));
    let row = |line: &str| {
        let parts: Vec<&str> = line.split('|').collect();
        (parts[0].parse().unwrap(), parts[1].to_owned(), parts[2].to_owned(), parts[3].parse().unwrap())
    };
    text.lines().map(row).collect()
}

/// What was told of keys, each with the epoch that its change ends with.
fn seen(told: &[Told]) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut epoch = None;
    // The id stands at the last event of a change.
    for told in told.iter().rev() {
        epoch = told.id.or(epoch);
        if told.event.starts_with("key.") {
            let text = |member: &str| told.data[member].as_str().unwrap().to_owned();
            seen.push((
                epoch.unwrap(),
                told.event.clone(),
                text("name"),
                told.data["version"].as_u64().unwrap(),
            ));
        }
    }
    seen.reverse();
    seen
}

pub(crate) fn create(client: &Client, name: &str) -> Value {
    client.post("/v1/keys", &json!({"name": name, "type": "es256"})).expect(201)
}

pub(crate) fn rotate(client: &Client, name: &str) -> Value {
    let body = json!({"force": true, "reason": "drill"});
    client.post(&format!("/v1/keys/{name}/rotate"), &body).expect(200)
}

pub(crate) fn compromise(client: &Client, name: &str, version: u64) -> Value {
    let path = format!("/v1/keys/{name}/versions/{version}/compromise");
    client.post(&path, &json!({"reason": "drill"})).expect(200)
}
