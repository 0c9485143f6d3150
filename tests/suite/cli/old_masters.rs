//! `claviger seal old-masters`: what is kept of masters of before, and who gets at it.

use std::{fs, os::unix::fs::PermissionsExt as _};

use claviger_tests::{
    Node, node,
    process::{PATIENCE, until},
};
use serde_json::{Value, json};

use super::{Ran, run};

const KEY: &str = "CLAVIGER_SEAL__MASTER_KEY";
const SECOND: &str = "second-master-9876543210-zyxwvutsrqponmlkj";
const THIRD: &str = "third-master-9876543210-zyxwvutsrqponmlkji";

fn rotate(node: &Node) {
    node.client().send("POST", "/v1/seal/rotate", None, &[]).expect(200);
    let done = || node.client().get("/v1/seal").expect(200)["rekey"]["state"] == "done";
    until(PATIENCE, || done().then_some(())).expect("it is done");
}

/// An old backup opens by what is kept, with the master in use at hand, and not without.
#[test]
fn masters_of_before_are_revealed_with_the_one_in_use() {
    let second = format!("{SECOND}\n{}", node::MASTER);
    let node = Node::within(Node::start().into_folder(), &[(KEY, &second)]);
    rotate(&node);
    let folder = node.into_folder();
    let third = format!("{THIRD}\n{SECOND}");
    let node = Node::within(folder, &[(KEY, &third)]);
    rotate(&node);
    // Not while it is served, and on no route.
    let old = |node: &Node, more: &[&str], master: &str| -> Ran {
        run(node.folder(), &[&["seal", "old-masters"], more].concat(), b"", &[(KEY, master)])
    };
    old(&node, &[], THIRD).refused("database.url: another process serves this database");
    let mut node = node;
    assert!(node.terminate().success());
    old(&node, &[], SECOND).refused("database.url: seal.master_key is not the master key of this database");
    let listed = old(&node, &[], THIRD).json();
    let items = listed["items"].as_array().unwrap().clone();
    let facts: Vec<(&Value, &Value)> = items.iter().map(|item| (&item["version"], &item["sound"])).collect();
    assert_eq!(facts, [(&json!(2), &json!(true)), (&json!(1), &json!(true))], "{listed}");
    for secret in [node::MASTER, SECOND, THIRD] {
        assert!(!listed.to_string().contains(secret));
        let bytes = fs::read(node.database()).unwrap();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
    for (item, secret) in items.iter().zip([SECOND, node::MASTER]) {
        let fingerprint = item["fingerprint"].as_str().unwrap();
        let file = format!("{fingerprint}.key");
        let reveal = ["--reveal", fingerprint, "--output", &file];
        let told = old(&node, &reveal, THIRD);
        assert!(!told.text().contains(secret));
        assert_eq!(told.json()["file"], file);
        let path = node.folder().join(&file);
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{secret}\n"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // What is there is not written over.
        old(&node, &reveal, THIRD).refused("--output: ");
    }
    // Removed for good, and one that is not kept is said to be none.
    let fingerprint = items[1]["fingerprint"].as_str().unwrap();
    assert_eq!(old(&node, &["--remove", fingerprint], THIRD).json()["removed"], true);
    old(&node, &["--remove", fingerprint], THIRD).refused("no master of this fingerprint is kept");
    assert_eq!(old(&node, &[], THIRD).json()["items"].as_array().unwrap().len(), 1);
    let folder = node.into_folder();
    let node = Node::within(folder, &[(KEY, THIRD)]);
    let events =
        |event: &str| node.client().get(&format!("/v1/audit?event={event}")).expect(200)["items"].clone();
    assert_eq!(events("old_master_revealed").as_array().unwrap().len(), 4);
    assert_eq!(events("old_master_removed").as_array().unwrap().len(), 1);
}

/// One that was edited opens for nobody, and is in nobody's way.
#[test]
fn a_kept_master_that_was_edited_is_told_of() {
    use sea_orm::ConnectionTrait as _;
    let second = format!("{SECOND}\n{}", node::MASTER);
    let node = Node::within(Node::start().into_folder(), &[(KEY, &second)]);
    rotate(&node);
    let folder = node.into_folder();
    let path = folder.path().join("data/claviger.db");
    crate::tampered::run(async {
        let connection = crate::tampered::open(&path).await;
        connection.execute_unprepared("UPDATE old_masters SET version = 9").await.unwrap();
        connection.close().await.unwrap();
    });
    let third = format!("{THIRD}\n{SECOND}");
    let mut node = Node::within(folder, &[(KEY, &third)]);
    rotate(&node);
    assert!(node.log().contains("a master of before was changed in the database"));
    assert!(node.terminate().success());
    let listed = run(node.folder(), &["seal", "old-masters"], b"", &[(KEY, THIRD)]).json();
    let sound: Vec<&Value> = listed["items"].as_array().unwrap().iter().map(|item| &item["sound"]).collect();
    assert_eq!(sound, [&json!(false), &json!(true)], "{listed}");
}
