//! What happens to a database that somebody else wrote to.

use claviger_tests::{Node, node};
use sea_orm::ConnectionTrait as _;
use serde_json::json;

use crate::tampered::{Tampered, changed, columns, open, run};

fn keys(node: &Node) {
    let client = node.client();
    for name in ["victim", "other"] {
        let body = json!({"name": name, "type": "es256", "description": "d", "labels": {"a": "b"}});
        client.post("/v1/keys", &body).expect(201);
    }
    client.post("/v1/keys/victim/rotate", &json!({"force": true, "reason": "x"})).expect(200);
}

#[test]
fn every_edited_column_of_a_version_is_found_and_named() {
    for (column, kind) in columns("key_versions") {
        let target = "key_id = (SELECT id FROM keys WHERE name = 'victim') AND version = 1";
        let sql = format!("UPDATE key_versions SET {column} = {} WHERE {target}", changed(&column, &kind));
        let tampered = Tampered::with(&[sql], keys);
        let found = tampered.quarantined();
        assert!(!found.is_empty(), "{column} was edited and nobody noticed");
        let named = found.iter().any(|(key, version)| key == "victim" && *version == Some(1));
        assert!(named || ["key_id", "version"].contains(&column.as_str()), "{column}: {found:?}");
        let client = tampered.node.client();
        assert_eq!(client.get("/health").expect(200)["status"], "degraded");
        // The rest serves, the other versions of the same key included.
        client.post("/v1/tokens", &json!({"key": "other"})).expect(201);
        client.post("/v1/tokens", &json!({"key": "victim"})).expect(201);
    }
}

#[test]
fn every_edited_column_of_a_key_is_found_and_named() {
    for (column, kind) in columns("keys") {
        let sql = format!("UPDATE keys SET {column} = {} WHERE name = 'victim'", changed(&column, &kind));
        let tampered = Tampered::with(&[sql], keys);
        let found = tampered.quarantined();
        assert!(found.iter().any(|(key, _)| key.starts_with("victim")), "{column}: {found:?}");
        let client = tampered.node.client();
        client.post("/v1/tokens", &json!({"key": "other"})).expect(201);
        let answer = client.post("/v1/tokens", &json!({"key": "victim"}));
        assert!([404, 409].contains(&answer.status), "{column}: {}", answer.text);
    }
}

#[test]
fn swapped_and_missing_rows_are_found() {
    let id = |name: &str| format!("(SELECT id FROM keys WHERE name = '{name}')");
    let (victim, other) = (id("victim"), id("other"));
    let swap = vec![
        "CREATE TEMP TABLE held AS SELECT key_id, version, sealed, dek_id FROM key_versions".to_owned(),
        format!(
            "UPDATE key_versions SET sealed = (SELECT sealed FROM held WHERE key_id = {other} AND version = 1) WHERE key_id = {victim} AND version = 1"
        ),
        format!(
            "UPDATE key_versions SET sealed = (SELECT sealed FROM held WHERE key_id = {victim} AND version = 1) WHERE key_id = {other} AND version = 1"
        ),
    ];
    let found = Tampered::with(&swap, keys).quarantined();
    assert_eq!(found, [("other".to_owned(), Some(1)), ("victim".to_owned(), Some(1))]);

    let missing = vec![format!("DELETE FROM key_versions WHERE key_id = {victim} AND version = 2")];
    let found = Tampered::with(&missing, keys).quarantined();
    assert_eq!(found, [("victim".to_owned(), Some(2))]);
}

#[test]
fn rows_of_another_type_are_found() {
    let sql = ["UPDATE key_versions SET created_at = 'soon' WHERE version = 1 AND key_id = (SELECT id FROM keys WHERE name = 'victim')".to_owned()];
    assert_eq!(Tampered::with(&sql, keys).quarantined(), [("victim".to_owned(), Some(1))]);
}

#[test]
fn an_edited_principal_is_nobody() {
    let sql = ["UPDATE principals SET roles = '[\"admin\", \"x\"]'".to_owned()];
    let tampered = Tampered::with(&sql, |_| {});
    assert_eq!(tampered.quarantined().len(), 1);
    tampered.node.client().get("/v1/keys").refused(401, "unauthorized");
}

#[test]
fn an_edited_deployment_stops_the_start() {
    for column in ["deployment_id", "bootstrapped", "issuer", "key_check", "policies"] {
        let node = Node::start();
        let folder = node.into_folder();
        let kind = if column == "key_check" {
            "BLOB"
        } else if column == "bootstrapped" {
            "BOOLEAN"
        } else {
            "TEXT"
        };
        run(async {
            let connection = open(&folder.path().join("data/claviger.db")).await;
            let sql = format!("UPDATE ring_meta SET {column} = {}", changed(column, kind));
            connection.execute_unprepared(&sql).await.unwrap();
            connection.close().await.unwrap();
        });
        let (code, log) = node::refused_start(folder.path(), &[("CLAVIGER_SEAL__MASTER_KEY", node::MASTER)]);
        assert!(code == Some(1) && log.lines().count() == 1, "{column}: {log}");
    }
}

#[test]
fn a_wrong_master_key_stops_the_start_and_touches_nothing() {
    let mut node = Node::start();
    keys(&node);
    assert!(node.terminate().success());
    let folder = node.into_folder();
    let before = std::fs::read(folder.path().join("data/claviger.db")).unwrap();
    let wrong = "another-master-9876543210-zyxwvutsrqponml";
    let (code, log) = node::refused_start(folder.path(), &[("CLAVIGER_SEAL__MASTER_KEY", wrong)]);
    assert_eq!(code, Some(1));
    assert!(log.lines().count() == 1 && log.contains("seal.master_key") && !log.contains(wrong), "{log}");
    assert!(
        std::fs::read(folder.path().join("data/claviger.db")).unwrap() == before,
        "the database was written to"
    );
    // An older master beside the right one opens.
    let both = format!("{wrong}\n{}", node::MASTER);
    let node = Node::within(folder, &[("CLAVIGER_SEAL__MASTER_KEY", &both)]);
    node.client().post("/v1/tokens", &json!({"key": "victim"})).expect(201);
}

#[test]
fn a_missing_master_key_is_not_replaced_by_a_fresh_one() {
    let node = Node::start();
    let folder = node.into_folder();
    let (code, log) = node::refused_start(folder.path(), &[]);
    assert!(code == Some(1) && log.contains("seal.master_key") && log.contains("master.key"), "{log}");
    assert!(!folder.path().join("data/master.key").exists());
}
