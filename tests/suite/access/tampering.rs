//! Rows of access that somebody else wrote: quarantined, not obeyed.

use std::sync::Mutex;

use claviger_tests::{Client, Node};
use serde_json::json;

use super::{api_key, put_policy};
use crate::tampered::{Tampered, changed, columns};

const GRANT: &str =
    "permit (principal in Claviger::Role::\"r\", action == Claviger::Action::\"random.generate\", resource);";
const FORBID: &str =
    "forbid (principal, action, resource) when { principal is Claviger::ApiKey && principal.name == \"x\" };";

/// Prepares a node with two policies and an API key, runs SQL on its database, starts it again. The secret of the API key comes with it.
fn tampered(sql: &str) -> (Tampered, String) {
    let secret = Mutex::new(String::new());
    let prepare = |node: &Node| {
        let admin = node.client();
        put_policy(&admin, "grant", GRANT);
        put_policy(&admin, "forbid", FORBID);
        let made = admin.post("/v1/api-keys", &json!({"name": "victim", "roles": ["r"]})).expect(201);
        *secret.lock().unwrap() = made["secret"].as_str().unwrap().to_owned();
    };
    let tampered = Tampered::with(&[sql.to_owned()], prepare);
    (tampered, secret.into_inner().unwrap())
}

fn draws(client: &Client) -> u16 {
    client.post("/v1/random", &json!({"bytes": 1})).status
}

#[test]
fn an_untouched_deployment_serves() {
    let (tampered, secret) = tampered("UPDATE principals SET roles = roles");
    assert!(tampered.quarantined().is_empty());
    assert_eq!(draws(&tampered.node.client().with_token(Some(&secret))), 200);
}

/// Whatever is changed in the row of a principal, it is named and nobody any more; the others go on.
#[test]
fn an_edited_role_is_not_obeyed() {
    let elevated = "UPDATE principals SET roles = '[\"admin\"]' WHERE name = 'victim'".to_owned();
    let each =
        columns("principals").into_iter().filter(|(column, _)| column != "id").map(|(column, kind)| {
            format!("UPDATE principals SET {column} = {} WHERE name = 'victim'", changed(&column, &kind))
        });
    for sql in each.chain([elevated]) {
        let (tampered, secret) = tampered(&sql);
        let found = tampered.quarantined();
        assert!(found.len() == 1 && found[0].0.starts_with("principal "), "{sql}: {found:?}");
        let admin = tampered.node.client();
        admin.with_token(Some(&secret)).get("/v1/keys").refused(401, "unauthorized");
        admin.get("/v1/keys").expect(200);
    }
}

#[test]
fn an_edited_policy_is_not_obeyed() {
    let widened =
        "UPDATE policies SET text = 'permit (principal, action, resource);' WHERE name = 'grant'".to_owned();
    let each = columns("policies").into_iter().map(|(column, kind)| {
        format!("UPDATE policies SET {column} = {} WHERE name = 'grant'", changed(&column, &kind))
    });
    for sql in each.chain([widened, "DELETE FROM policies WHERE name = 'grant'".to_owned()]) {
        let (tampered, secret) = tampered(&sql);
        let found = tampered.quarantined();
        assert!(found.iter().any(|(row, _)| row == "policy grant"), "{sql}: {found:?}");
        let admin = tampered.node.client();
        let victim = admin.with_token(Some(&secret));
        assert_eq!(draws(&victim), 403, "{sql}");
        admin.get("/v1/keys").expect(200);
        // Writing it anew mends it.
        put_policy(&admin, "grant", GRANT);
        assert_eq!(draws(&victim), 200, "{sql}");
    }
}

/// A policy that forbade something can't be taken away by whoever can write to the database.
#[test]
fn without_a_policy_that_forbids_only_administrators_come_in() {
    for sql in [
        "DELETE FROM policies WHERE name = 'forbid'",
        "UPDATE policies SET text = 'permit (principal, action, resource);' WHERE name = 'forbid'",
        "UPDATE policies SET name = 'other' WHERE name = 'forbid'",
        "UPDATE policies SET mac = x'00' WHERE name = 'forbid'",
    ] {
        let (tampered, secret) = tampered(sql);
        let admin = tampered.node.client();
        let victim = admin.with_token(Some(&secret));
        assert!(tampered.quarantined().iter().any(|(row, _)| row == "policy forbid"), "{sql}");
        assert_eq!(draws(&victim), 403, "{sql}");
        assert_eq!(admin.get("/health").expect(200)["status"], "degraded");
        admin.get("/v1/keys").expect(200);
        put_policy(&admin, "forbid", FORBID);
        assert_eq!(draws(&victim), 200, "{sql}");
    }
}

/// A row copied under another name, or smuggled in, is no policy.
#[test]
fn a_smuggled_policy_is_not_obeyed() {
    let sql = "INSERT INTO policies SELECT 'mine', 'permit (principal, action, resource);', description, created_at, updated_at, \
               revision, mac FROM policies WHERE name = 'grant'";
    let (tampered, secret) = tampered(sql);
    let victim = tampered.node.client().with_token(Some(&secret));
    assert_eq!(tampered.quarantined(), [("policy mine".to_owned(), None)]);
    assert_eq!(draws(&victim), 200);
    victim.get("/v1/keys").refused(403, "forbidden");
}

/// A database from before API keys and policies is brought up to date, and its rows are as sound as they were.
#[test]
fn a_database_of_before_policies_is_brought_up_to_date() {
    let undo = [
        "ALTER TABLE principals DROP COLUMN previous_hash",
        "ALTER TABLE principals DROP COLUMN previous_until",
        "ALTER TABLE ring_meta DROP COLUMN policies",
        "ALTER TABLE changes DROP COLUMN object",
        "DROP TABLE policies",
        "DROP TABLE principal_uses",
        "DELETE FROM seaql_migrations WHERE version = 'm20261125_000002_access'",
    ];
    let tampered = Tampered::with(&undo.map(str::to_owned), |_| {});
    assert!(tampered.quarantined().is_empty());
    let admin = tampered.node.client();
    admin.get("/v1/keys/default-signing").expect(200);
    put_policy(&admin, "grant", GRANT);
    let (_, client) = api_key(&admin, &["r"]);
    assert_eq!(draws(&client), 200);
}
