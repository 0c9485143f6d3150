//! The node that runs a playbook dies in the middle of it.

use std::time::Duration;

use claviger_tests::{Client, Cluster, process};
use serde_json::{Value, json};

use super::{over, step};

const KEYS: usize = 60;

/// P1: another node ends what one has begun, wherever that was.
#[test]
fn p1_another_node_ends_a_playbook() {
    let mut cluster = Cluster::start(3, &[("CLAVIGER_CLUSTER__MAX_STALENESS", "3s")]);
    let client = cluster.client(0);
    for number in 0..KEYS {
        let body = json!({"name": format!("k{number}"), "type": "aes256-gcm"});
        client.post("/v1/keys", &body).expect(201);
    }
    let stored = json!({"value": "kept"}).to_string().into_bytes();
    assert_eq!(client.send("PUT", "/v1/secrets/alice/s", Some(stored), &[]).status, 201);
    let asking = client.clone();
    let opening = std::thread::spawn(move || {
        asking.try_post("/v1/incidents", &json!({"all": true, "reason": "drill"})).map(|answer| answer.status)
    });
    let steps =
        || cluster.postgres.psql("SELECT count(*) FROM incident_steps").trim().parse::<usize>().unwrap();
    process::until(super::LONG, || (steps() >= 10).then_some(())).expect("it has begun");
    let holder = cluster.postgres.psql("SELECT holder FROM incidents");
    let dying: usize = holder.trim().trim_start_matches("node-").split('/').next().unwrap().parse().unwrap();
    cluster.nodes[dying].kill9();
    let _status = opening.join().unwrap();
    let alive = cluster.client((dying + 1) % 3);
    let id = alive.get("/v1/incidents").expect(200)["items"][0]["id"].as_str().unwrap().to_owned();
    let incident = over(&alive, &id);
    assert_eq!(incident["state"], "done", "{incident}");
    let nodes: Vec<&Value> = incident["steps"].as_array().unwrap().iter().map(|step| &step["node"]).collect();
    let before = nodes.iter().filter(|node| ***node == json!(format!("node-{dying}"))).count();
    assert!(before < nodes.len(), "somebody else has gone on: {nodes:?}");
    ended_as_planned(&cluster, &alive, &incident);
    // What was stored is still there, under another version.
    let kept = || (alive.get("/v1/secrets/alice/s").expect(200)["value"] == "kept").then_some(());
    process::until(Duration::from_secs(20), kept).unwrap();
    let left = || {
        let incident = alive.get(&format!("/v1/incidents/{id}")).expect(200);
        (incident["report"]["stored_rows_left"] == 0).then_some(())
    };
    process::until(super::LONG, left).expect("stored rows move by themselves");
}

/// Every key has one primary that is neither the version of before nor its standby, and each step was recorded once.
fn ended_as_planned(cluster: &Cluster, client: &Client, incident: &Value) {
    for number in 0..KEYS {
        let key = client.get(&format!("/v1/keys/k{number}")).expect(200);
        let state = |version: u64| {
            let versions = key["versions"].as_array().unwrap();
            versions.iter().find(|one| one["version"] == version).map(|one| one["state"].clone())
        };
        assert_eq!([state(1), state(2)], [Some(json!("compromised")), Some(json!("compromised"))], "{key}");
        assert_eq!(key["primary_version"], 3, "{key}");
    }
    let spread = step(incident, "spread");
    assert_eq!(spread["state"], "done", "{spread}");
    let recorded = "SELECT count(*) FROM incident_steps";
    let steps = incident["steps"].as_array().unwrap().len().to_string();
    assert_eq!(cluster.postgres.psql(recorded).trim(), steps);
    let twice = "SELECT count(*) FROM changes WHERE kind = 'key.compromised' AND key_name = 'k0'";
    assert_eq!(cluster.postgres.psql(twice).trim(), "2");
}

/// A deployment that was stopped in the middle goes on when it is started again.
#[test]
fn a_single_node_goes_on_after_a_restart() {
    let mut node = claviger_tests::Node::settled(&[]);
    let client = node.client();
    for number in 0..40 {
        client.post("/v1/keys", &json!({"name": format!("k{number}"), "type": "aes256-gcm"})).expect(201);
    }
    let asking = client.clone();
    let opening = std::thread::spawn(move || {
        asking.try_post("/v1/incidents", &json!({"all": true, "reason": "drill"})).is_some()
    });
    let begun = || {
        let listed = client.get("/v1/incidents").expect(200);
        listed["items"]
            .get(0)
            .filter(|one| one["progress"]["over"].as_u64() > Some(3))
            .map(|one| one["id"].clone())
    };
    let id = process::until(super::LONG, begun).expect("it has begun");
    node.restart();
    let _answered = opening.join().unwrap();
    let incident = over(&node.client(), id.as_str().unwrap());
    assert_eq!(incident["state"], "done", "{incident}");
    assert_eq!(incident["report"]["complete"], true, "{incident}");
}
