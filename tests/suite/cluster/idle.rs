//! What a node that does nothing costs its database.

use std::{collections::BTreeMap, time::Duration};

use claviger_tests::{Postgres, cluster, process};
use serde_json::json;

const WATCHED: Duration = Duration::from_secs(12);

/// Statements of the service in the server's log, from so many bytes on, by their beginning.
fn statements(postgres: &Postgres, from: usize) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for line in postgres.log()[from..].lines().filter(|line| line.contains("claviger ")) {
        let Some((_, rest)) = line.split_once("LOG:  ") else { continue };
        let Some((_, statement)) = rest.split_once(": ").filter(|_| !rest.starts_with("duration")) else {
            continue;
        };
        let words: Vec<&str> = statement.split_whitespace().take(2).collect();
        *counted.entry(words.join(" ")).or_default() += 1;
    }
    counted
}

/// One question a second and a sign of life every few, whatever the ring holds: a thousand nodes may share a database.
#[test]
fn an_idle_node_asks_once_a_second() {
    let postgres = Postgres::with(&["log_statement=all", "log_line_prefix=%a "]);
    let node = cluster::node(&postgres.url(), 0, &[]);
    let client = node.client();
    for key in 0..20 {
        client.post("/v1/keys", &json!({"name": format!("k{key}"), "type": "es256"})).expect(201);
    }
    // The last checkpoint of the log comes within this time.
    process::pause(Duration::from_secs(8));
    let from = postgres.log().len();
    process::pause(WATCHED);
    let counted = statements(&postgres, from);
    let all: usize = counted.values().sum();
    assert!(
        (10..=14).contains(&counted.get("SELECT \"ring_meta\".\"id\",").copied().unwrap_or(0)),
        "{counted:?}"
    );
    assert!((2..=4).contains(&counted.get("UPDATE \"nodes\"").copied().unwrap_or(0)), "{counted:?}");
    assert!(all <= 18, "{counted:?}");
}
