//! Starts and stops of a node, and what of its configuration was another than before.

use claviger_tests::{Client, Node, Postgres, cluster};
use serde_json::{Value, json};
use tempfile::TempDir;

const LEVEL: &str = "CLAVIGER_AUDIT__LEVEL";

/// Events of a kind, oldest first.
fn told(client: &Client, event: &str) -> Vec<Value> {
    let mut items =
        client.get(&format!("/v1/audit?event={event}")).expect(200)["items"].as_array().unwrap().clone();
    items.reverse();
    items
}

fn in_log<'a>(records: &'a [Value], event: &str) -> Vec<&'a Value> {
    records.iter().filter(|record| record["event"] == event).collect()
}

/// Stops a node in order, and starts another on what it leaves.
fn again(mut node: Node, environment: &[(&str, &str)]) -> Node {
    assert!(node.terminate().success());
    Node::within(node.into_folder(), environment)
}

/// A node without a name of its own has another one each time; it is known by its log.
#[test]
fn what_has_changed_since_the_start_before_is_on_record() {
    let node = Node::start();
    assert!(told(&node.client(), "config_changed").is_empty());
    let node = again(node, &[]);
    assert!(told(&node.client(), "config_changed").is_empty(), "nothing has changed");
    let sink = "syslog+udp://127.0.0.1:9";
    let node = again(node, &[(LEVEL, "control"), ("CLAVIGER_AUDIT__OPTIONAL_SINKS", sink)]);
    let client = node.client();
    let changed = told(&client, "config_changed");
    assert_eq!(changed.len(), 1, "{changed:?}");
    let expected = json!({"audit.level": ["full", "control"], "audit.optional_sinks": ["none", sink]});
    assert_eq!((&changed[0]["changed"], &changed[0]["actor"]), (&expected, &json!("system")));

    let records = node.records();
    assert_eq!(in_log(&records, "config_changed")[0]["changed"], expected);
    let (started, stopped) = (in_log(&records, "node_started"), in_log(&records, "node_stopped"));
    assert_eq!((started.len(), stopped.len()), (3, 2));
    assert_eq!(told(&client, "node_started").len(), 3);
    assert_eq!(told(&client, "node_stopped").len(), 2);
    let levels: Vec<&Value> = started.iter().map(|record| &record["settings"]["audit.level"]).collect();
    assert_eq!(levels, ["full", "full", "control"]);
    let (master, token) = (claviger_tests::node::MASTER, claviger_tests::node::TOKEN);
    assert!(!records.iter().any(|record| {
        let text = record.to_string();
        text.contains(master) || text.contains(token)
    }));

    // It was killed: nothing says that it stopped, and it is compared all the same.
    let node = Node::within(node.into_folder(), &[]);
    let client = node.client();
    assert_eq!((told(&client, "node_stopped").len(), told(&client, "node_started").len()), (2, 4));
    assert_eq!(told(&client, "config_changed")[1]["changed"]["audit.level"], json!(["control", "full"]));
}

/// A node with a name is known by it, also where its log is gone with its disk.
#[test]
fn a_named_node_without_its_log_is_compared_too() {
    let postgres = Postgres::start();
    let url = postgres.url();
    let start = |environment: &[(&str, &str)]| cluster::node(&url, 0, environment);
    drop(start(&[]));
    let other = cluster::node(&url, 1, &[(LEVEL, "control")]);
    assert!(told(&other.client(), "config_changed").is_empty(), "another node is another");
    let node = start(&[(LEVEL, "control")]);
    let changed = told(&other.client(), "config_changed");
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert_eq!(
        (&changed[0]["node"], &changed[0]["changed"]),
        (&json!("node-0"), &json!({"audit.level": ["full", "control"]}))
    );
    drop(node);
    // Whoever edits what is compared does not hide a change.
    let _edited = postgres.psql("UPDATE node_settings SET settings = replace(settings, 'control', 'full')");
    let node = start(&[]);
    let changed = told(&other.client(), "config_changed");
    assert_eq!(changed.len(), 2, "{changed:?}");
    assert_eq!(changed[1]["changed"]["audit.level"], json!([null, "full"]));
    assert!(node.log().contains("changed in the database from outside"));
    assert_eq!(postgres.psql("SELECT count(*) FROM node_settings").trim(), "2");
}

/// A log that can't be written at the start is no reason not to start: the database has the events.
#[test]
fn a_start_with_a_log_that_can_not_be_written_is_told_by_the_database() {
    let folder: TempDir = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    std::fs::write(folder.path().join("data/audit"), "in the way").unwrap();
    let node = Node::within(folder, &[]);
    let client = node.client();
    assert_eq!(client.get("/health").status, 503);
    std::fs::remove_file(node.folder().join("data/audit")).unwrap();
    super::wait_until(|| client.get("/health").status == 200);
    assert_eq!(told(&client, "node_started").len(), 1);
}
