//! Incidents: what is in other hands is taken from everybody, at once, whoever dies meanwhile.

mod drill;
mod report;
mod scan;
mod takeover;
mod targets;

use std::time::Duration;

use claviger_tests::{Client, process};
use serde_json::{Value, json};

/// Longest time for a playbook on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// Opens an incident, and waits until it is over.
fn opened(client: &Client, body: &Value) -> Value {
    let incident = client.post("/v1/incidents", body).expect(201);
    over(client, incident["id"].as_str().unwrap())
}

/// An incident once it is over.
fn over(client: &Client, id: &str) -> Value {
    let ended = || {
        let incident = client.get(&format!("/v1/incidents/{id}")).expect(200);
        (incident["state"] != "running").then_some(incident)
    };
    process::until(LONG, ended).unwrap_or_else(|| {
        panic!("{}", client.get(&format!("/v1/incidents/{id}")).text);
    })
}

/// The step of this name; the first of several.
fn step<'a>(incident: &'a Value, name: &str) -> &'a Value {
    let steps = incident["steps"].as_array().unwrap();
    steps.iter().find(|step| step["step"] == name).unwrap_or_else(|| panic!("no {name}: {incident}"))
}

fn verified(client: &Client, token: &Value) -> Value {
    client.post("/v1/tokens/verify", &json!({"token": token})).expect(200)
}
