//! A change on one node is used on all.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use claviger_tests::{Client, Cluster, cluster::at_once, process};
use serde_json::{Value, json};

/// Two polls, with slack for a busy machine.
const POLLS: Duration = Duration::from_secs(10);

fn verified(client: &Client, token: &Value) -> Value {
    client.post("/v1/tokens/verify", &json!({"token": token})).expect(200)
}

/// P3: what one node has made, every other one knows at once, without waiting for any poll: the database is asked before a *no*.
#[test]
fn p3_no_node_says_no_to_what_another_has_just_made() {
    let cluster = Cluster::start(3, &[]);
    let [a, b, c] = [0, 1, 2].map(|node| cluster.client(node));
    for round in 0..5 {
        let name = format!("k{round}");
        a.post("/v1/keys", &json!({"name": name, "type": "es256"})).expect(201);
        let token = b.post("/v1/tokens", &json!({"key": name, "subject": "s"})).expect(201)["token"].clone();
        assert_eq!(verified(&c, &token)["valid"], true);
        // Twice by force: the second primary is one that no other node has seen.
        for _ in 0..2 {
            let body = json!({"force": true, "reason": "drill", "consistency": "eventual"});
            a.post(&format!("/v1/keys/{name}/rotate"), &body).expect(200);
        }
        let token = a.post("/v1/tokens", &json!({"key": name, "subject": "s"})).expect(201)["token"].clone();
        assert_eq!(verified(&b, &token)["valid"], true);
        let data = format!("d{round}");
        b.post("/v1/keys", &json!({"name": data, "type": "aes256-gcm"})).expect(201);
        let path = |operation: &str| format!("/v1/keys/{data}/{operation}");
        let sealed = c.post(&path("encrypt"), &json!({"plaintext": "aGk="})).expect(200);
        let body = json!({"ciphertext": sealed["ciphertext"]});
        assert_eq!(a.post(&path("decrypt"), &body).expect(200)["plaintext"], "aGk=");
    }
    // A credential as well, and what a policy has just given it.
    let made = a.post("/v1/api-keys", &json!({"name": "n", "roles": ["verifier"]})).expect(201);
    b.with_token(made["secret"].as_str()).get("/v1/keys").expect(200);
    // An epoch that somebody has seen is waited for.
    let epoch = a.post("/v1/keys", &json!({"name": "last", "type": "hs256"}));
    let epoch = epoch.header("x-claviger-epoch").to_owned();
    let answer = c.send("GET", "/v1/keys/last", None, &[("X-Claviger-Min-Epoch", epoch.as_str())]);
    assert!(answer.header("x-claviger-epoch").parse::<u64>().unwrap() >= epoch.parse().unwrap());
    answer.expect(200);
}

/// P4: once a strong revocation is answered, only nodes that it names as lagging may go on, and those not for long.
#[test]
fn p4_a_revoked_version_is_refused_everywhere() {
    let cluster = Cluster::start(3, &[]);
    let clients: BTreeMap<String, Client> =
        (0..3).map(|node| (format!("node-{node}"), cluster.client(node))).collect();
    let a = &clients["node-0"];
    for round in 0..3 {
        let name = format!("k{round}");
        a.post("/v1/keys", &json!({"name": name, "type": "es256"})).expect(201);
        let token = a.post("/v1/tokens", &json!({"key": name, "subject": "s"})).expect(201)["token"].clone();
        for client in clients.values() {
            assert_eq!(verified(client, &token)["valid"], true);
        }
        let path = format!("/v1/keys/{name}/versions/1/compromise");
        let answer = a.post(&path, &json!({"reason": "drill"})).expect(200);
        let names = |member: &str| -> Vec<String> {
            let list = answer[member].as_array().unwrap();
            list.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
        };
        let (acknowledged, lagging) = (names("acknowledged_by"), names("lagging"));
        assert_eq!(acknowledged.len() + lagging.len(), 3, "{answer}");
        assert!(acknowledged.contains(&"node-0".to_owned()), "{answer}");
        for name in &acknowledged {
            assert_eq!(verified(&clients[name], &token)["code"], "key_not_usable", "{name}");
        }
        let began = Instant::now();
        for client in clients.values() {
            let refused =
                process::until(POLLS, || (verified(client, &token)["valid"] == false).then_some(()));
            refused.expect("two polls are enough");
        }
        assert!(began.elapsed() < POLLS);
    }
    // A credential that was deleted on one node is nobody on the others.
    let made = a.post("/v1/api-keys", &json!({"name": "n", "roles": ["verifier"]})).expect(201);
    let b = clients["node-1"].with_token(made["secret"].as_str());
    b.get("/v1/keys").expect(200);
    assert_eq!(a.delete(&format!("/v1/api-keys/{}", made["id"].as_str().unwrap())).status, 204);
    process::until(POLLS, || (b.get("/v1/keys").status == 401).then_some(())).expect("two polls are enough");
}

/// P2: whoever rotates, versions follow one another, each once; every change that was answered is there.
#[test]
fn p2_nodes_that_change_one_key_at_once_take_turns() {
    let cluster = Cluster::start(3, &[]);
    cluster.client(0).post("/v1/keys", &json!({"name": "k", "type": "aes256-gcm"})).expect(201);
    let rotations = 20;
    let made: Vec<u64> = at_once(3, |node| {
        let client = cluster.client(node);
        let body = json!({"force": true, "reason": "drill", "consistency": "eventual"});
        let rotate = || client.post("/v1/keys/k/rotate", &body).expect(200)["version"].as_u64().unwrap();
        (0..rotations).map(|_| rotate()).collect::<Vec<_>>()
    })
    .concat();
    let mut sorted = made.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (2..=1 + 3 * rotations).collect::<Vec<u64>>());
    let states = "SELECT state, count(*) FROM key_versions JOIN keys ON keys.id = key_id WHERE name = 'k' \
                  GROUP BY state ORDER BY state";
    let expected = format!("active|1\ndeactivated|{}\npre_activation|1", 3 * rotations);
    assert_eq!(cluster.postgres.psql(states).trim(), expected);
    let epochs = "SELECT count(DISTINCT epoch) = max(epoch) - min(epoch) + 1 FROM changes";
    assert_eq!(cluster.postgres.psql(epochs).trim(), "t");
}

/// P2: a rotation that is due happens once, however many nodes look at the schedule.
#[test]
fn p2_a_due_rotation_happens_once() {
    let cluster = Cluster::start(3, &[]);
    let a = cluster.client(0);
    let rotation = json!({"every": "12s"});
    a.post("/v1/keys", &json!({"name": "k", "type": "aes256-gcm", "rotation": rotation})).expect(201);
    let log = "SELECT count(*) FROM changes WHERE kind = 'key.rotated' AND key_name = 'k'";
    process::until(Duration::from_secs(60), || (cluster.postgres.psql(log).trim() == "2").then_some(()))
        .expect("two rotations");
    let spacing = "SELECT min(gap) FROM (SELECT at - lag(at) OVER (ORDER BY epoch) AS gap FROM changes \
                   WHERE kind = 'key.rotated' AND key_name = 'k') AS gaps";
    let spacing: u64 = cluster.postgres.psql(spacing).trim().parse().unwrap();
    assert!(spacing >= 12_000, "{spacing}");
}

/// The nodes see each other, and those that are gone.
#[test]
fn nodes_are_seen_by_each_other() {
    let mut cluster = Cluster::start(2, &[("CLAVIGER_CLUSTER__MAX_STALENESS", "3s")]);
    let a = cluster.client(0);
    let view = a.get("/v1/cluster").expect(200);
    let names: Vec<&str> =
        view["nodes"].as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["node-0", "node-1"]);
    assert_eq!((&view["node"], &view["database"]["kind"]), (&json!("node-0"), &json!("postgres")));
    assert!(view["nodes"].as_array().unwrap().iter().all(|node| node["live"] == true), "{view}");
    assert_eq!((&view["barrier"], &view["redis"]["status"]), (&Value::Null, &json!("absent")));
    a.post("/v1/keys", &json!({"name": "k", "type": "aes256-gcm"})).expect(201);
    a.post("/v1/keys/k/rotate", &json!({"force": true, "reason": "drill"})).expect(200);
    let view = a.get("/v1/cluster").expect(200);
    assert!(view["barrier"]["p99_ms"].as_f64().unwrap() > 0.0, "{view}");
    let third = cluster.join(2, &[]);
    assert_eq!(a.get("/v1/cluster").expect(200)["nodes"].as_array().unwrap().len(), 3);
    // One that leaves in order is gone at once; one that is killed counts until it must have stopped.
    let mut third = third;
    assert_eq!(third.terminate().code(), Some(0));
    assert_eq!(a.get("/v1/cluster").expect(200)["nodes"].as_array().unwrap().len(), 2);
    cluster.nodes[1].kill9();
    let dead = process::until(Duration::from_secs(30), || {
        let view = a.get("/v1/cluster").expect(200);
        (view["nodes"][1]["live"] == false).then_some(())
    });
    dead.expect("a node that was killed is not waited for for ever");
}
