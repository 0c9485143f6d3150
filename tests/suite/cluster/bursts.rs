//! Many changes at once, on all nodes.

use std::{collections::BTreeSet, time::Duration};

use claviger_tests::{Client, Cluster, cluster::at_once, process, volume};
use serde_json::{Value, json};

/// Two polls, with slack for a busy machine.
const POLLS: Duration = Duration::from_secs(10);
const NODES: usize = 3;
const THREADS: usize = 8;

/// What a thread has done.
#[derive(Default)]
struct Done {
    kept: Vec<String>,
    /// Secrets of those that are gone.
    deleted: Vec<String>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// The ids of all API keys, as a node has them.
fn listed(client: &Client) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    let mut cursor = String::new();
    loop {
        let page = client.get(&format!("/v1/api-keys?limit=1000{cursor}")).expect(200);
        for item in page["items"].as_array().unwrap() {
            assert!(ids.insert(text(&item["id"])), "{item} is on two pages");
        }
        let Some(next) = page["next_cursor"].as_str() else { return ids };
        cursor = format!("&cursor={next}");
    }
}

/// P4: of a burst of changes on all nodes at once every node sees every one; those that commit late are not passed over.
#[test]
fn p4_a_burst_of_revocations_is_seen_whole() {
    let cluster = Cluster::start(NODES, &[]);
    let clients: Vec<Client> = (0..NODES).map(|node| cluster.client(node)).collect();
    let before = listed(&clients[0]);
    let each = volume(30_000) / (NODES * THREADS);
    let done = at_once(NODES * THREADS, |thread| {
        let (maker, other) = (&clients[thread % NODES], &clients[(thread + 1) % NODES]);
        let mut done = Done::default();
        for index in 0..each {
            let body = json!({"name": format!("b{thread}-{index}"), "roles": ["verifier"]});
            let made = maker.post("/v1/api-keys", &body).expect(201);
            let id = text(&made["id"]);
            if index % 5 == 0 {
                done.kept.push(id);
                continue;
            }
            // Half of them on another node, which has not seen it yet.
            let deleter = if index % 2 == 0 { maker } else { other };
            assert_eq!(deleter.delete(&format!("/v1/api-keys/{id}")).status, 204);
            done.deleted.push(text(&made["secret"]));
        }
        done
    });
    let kept = done.iter().flat_map(|done| done.kept.iter().cloned());
    let expected: BTreeSet<String> = before.into_iter().chain(kept).collect();
    let whole = || clients.iter().all(|client| listed(client) == expected).then_some(());
    process::until(POLLS, whole).expect("two polls are enough");
    at_once(NODES * THREADS, |thread| {
        for (index, client) in clients.iter().enumerate() {
            for secret in &done[thread].deleted {
                let status = client.with_token(Some(secret)).get("/v1/keys").status;
                assert_eq!(status, 401, "node-{index} accepts a credential that is gone");
            }
        }
    });
    let gaps = "SELECT count(DISTINCT epoch) = max(epoch) - min(epoch) + 1 FROM changes";
    assert_eq!(cluster.postgres.psql(gaps), "t");
}
