//! How a cluster comes up.

use std::collections::BTreeSet;

use claviger_tests::{Cluster, Postgres, cluster, node, process};
use serde_json::{Value, json};

fn names(page: &Value) -> Vec<String> {
    page["items"].as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap().to_owned()).collect()
}

/// P2: however many nodes start on an empty database at once, there is one schema, one deployment, one set of first keys.
#[test]
fn p2_nodes_that_start_at_once_make_one_deployment() {
    let cluster = Cluster::start(12, &[]);
    let views: BTreeSet<String> = cluster
        .nodes
        .iter()
        .map(|node| {
            let client = node.client();
            let same = process::until(std::time::Duration::from_secs(10), || {
                let keys = client.get("/v1/keys").expect(200);
                (names(&keys).len() == 3).then_some(keys)
            });
            let jwks = client.get("/.well-known/jwks.json").text;
            let metadata = client.get("/.well-known/openid-configuration").expect(200)["issuer"].clone();
            json!([same.expect("every node has the first keys"), jwks, metadata]).to_string()
        })
        .collect();
    assert_eq!(views.len(), 1, "{views:#?}");
    assert_eq!(cluster.postgres.psql("SELECT count(*) FROM principals").trim(), "1");
    assert_eq!(cluster.postgres.psql("SELECT count(*) FROM ring_meta").trim(), "1");
    assert_eq!(cluster.postgres.psql("SELECT count(*) FROM keys WHERE name NOT LIKE '~%'").trim(), "3");
}

/// P1: with a database that several nodes share, no node makes secrets of its own, and one with another master does not start.
#[test]
fn p1_a_node_without_the_master_of_the_others_does_not_start() {
    let postgres = Postgres::start();
    let url = postgres.url();
    let refused = |environment: &[(&str, &str)], said: &str| {
        let folder = tempfile::tempdir().unwrap();
        let mut all = vec![("CLAVIGER_DATABASE__URL", url.as_str())];
        all.extend_from_slice(environment);
        let (code, log) = node::refused_start(folder.path(), &all);
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains(said) && log.lines().count() == 1, "{log}");
    };
    let master = ("CLAVIGER_SEAL__MASTER_KEY", node::MASTER);
    let token = ("CLAVIGER_BOOTSTRAP_TOKEN", node::TOKEN);
    refused(&[token], "seal.master_key");
    refused(&[master], "bootstrap_token");
    drop(cluster::node(&url, 1, &[]));
    refused(&[token, ("CLAVIGER_SEAL__MASTER_KEY", "another-master-0123456789-abcdefghijk-XYZ")], "master");
    let password = claviger_tests::postgres::PASSWORD;
    let wrong = url.replace(password, "not-the-password");
    let folder = tempfile::tempdir().unwrap();
    let (code, log) =
        node::refused_start(folder.path(), &[("CLAVIGER_DATABASE__URL", &wrong), master, token]);
    assert_eq!(code, Some(1), "{log}");
    assert!(!log.contains("not-the-password") && !log.contains(node::MASTER), "{log}");
    // Once there is an administrator, the bootstrap token is not needed any more.
    drop(claviger_tests::Node::with(&[("CLAVIGER_DATABASE__URL", &url)]));
}

/// The role that serves needs no right to the schema when another one migrates.
#[test]
fn another_role_may_migrate() {
    let postgres = Postgres::start();
    let _made = postgres.admin("CREATE ROLE app LOGIN PASSWORD 'app-password-0123456789'");
    let grant =
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO app";
    let _granted = postgres.psql(grant);
    let strong = postgres.url();
    let owner = format!("{}:{}@", claviger_tests::postgres::USER, claviger_tests::postgres::PASSWORD);
    let weak = strong.replace(&owner, "app:app-password-0123456789@");
    assert_ne!(weak, strong);
    let migration = ("CLAVIGER_DATABASE__MIGRATION_URL", strong.as_str());
    let nodes = cluster::at_once(2, |index| cluster::node(&weak, index, &[migration]));
    for (node, name) in nodes.iter().zip(["a", "b"]) {
        node.client().post("/v1/keys", &json!({"name": name, "type": "es256"})).expect(201);
    }
    let owner = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(postgres.psql(owner).trim(), claviger_tests::postgres::USER);
}

/// A release does not serve from a schema that it does not know.
#[test]
fn a_schema_of_a_newer_release_is_refused_with_a_line() {
    let postgres = Postgres::start();
    let url = postgres.url();
    drop(cluster::node(&url, 0, &[]));
    let _later = postgres
        .psql("INSERT INTO seaql_migrations (version, applied_at) VALUES ('m20990101_000001_later', 0)");
    let folder = tempfile::tempdir().unwrap();
    let environment = [
        ("CLAVIGER_DATABASE__URL", url.as_str()),
        ("CLAVIGER_SEAL__MASTER_KEY", node::MASTER),
        ("CLAVIGER_BOOTSTRAP_TOKEN", node::TOKEN),
    ];
    let (code, log) = node::refused_start(folder.path(), &environment);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("newer release"), "{log}");
}
