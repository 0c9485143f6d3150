//! `claviger import`, from files and servers of a system that is being replaced.

use std::{fs, path::Path, process::Command};

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use claviger_crypto::{fernet, jwe, material::Material, prepared::PreparedKey, secret::SecretBytes, stored};
use claviger_entity::KeyType;
use claviger_tests::{Node, Postgres, node};
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};

use super::put;

const SECRET: &str = "test_secret";
/// The vector of the format: `hello` under `test_secret`.
const FERNET: &str =
    "gAAAAABlU_EAAAECAwQFBgcICQoLDA0OD4x1QbhbxTxCvggQDuMNOs4OV_q4t824s-W-kYw1CvxS4Cch48f-jqrvzJ5dLRVNbg==";

fn key(key_type: KeyType) -> PreparedKey {
    let secret = SecretBytes::new(SECRET.as_bytes().to_vec());
    let imported = Material::import_legacy(key_type, &secret, None).unwrap();
    PreparedKey::new(key_type, &imported.material.secret).unwrap()
}

/// A value in one of the forms, by turns.
fn sealed(value: &str, form: usize) -> String {
    let (aead, fernet_key) = (key(KeyType::Aes256Gcm), key(KeyType::Fernet));
    let kid = "legacy".parse().unwrap();
    let token = || fernet::encrypt_text(fernet_key.fernet().unwrap(), value, 1_700_000_000).unwrap();
    match form % 4 {
        0 => token(),
        1 => URL_SAFE.encode(token()),
        2 => jwe::encrypt_value(&aead, &kid, value).unwrap(),
        _ => stored::write(&aead, &kid, value.as_bytes(), "").unwrap(),
    }
}

/// The other system's tables, and so many rows in each.
fn tables(rows: usize) -> String {
    let mut sql = String::from(
        "CREATE TABLE auth_tokens (id INTEGER PRIMARY KEY, user_id VARCHAR(255), identity_provider VARCHAR(255), access_token TEXT, refresh_token TEXT, access_token_expires_at BIGINT, refresh_token_expires_at BIGINT);
         CREATE TABLE offline_tokens (user_id VARCHAR(255) PRIMARY KEY, offline_token TEXT, created_at TIMESTAMP, updated_at TIMESTAMP);
         CREATE TABLE custom_secrets (id INTEGER PRIMARY KEY, keycloak_user_id VARCHAR(255), secret_name VARCHAR(255), secret_value TEXT, description TEXT);
         CREATE TABLE api_keys (id INTEGER PRIMARY KEY, key VARCHAR(255), user_id VARCHAR(255), name VARCHAR(255));",
    );
    for row in 0..rows {
        let (access, refresh) =
            (sealed(&format!("access-{row}"), row), sealed(&format!("refresh-{row}"), row + 1));
        sql.push_str(&format!("INSERT INTO auth_tokens VALUES ({row}, 'u/{row}', 'github', '{access}', '{refresh}', 1900000000, 0);"));
        sql.push_str(&format!(
            "INSERT INTO offline_tokens (user_id, offline_token) VALUES ('u/{row}', '{}');",
            sealed(&format!("offline-{row}"), row + 2)
        ));
        sql.push_str(&format!(
            "INSERT INTO custom_secrets VALUES ({row}, 'u/{}', 's{row}', '{}', 'd');",
            row % 7,
            sealed(&format!("secret-{row}"), row + 3)
        ));
        sql.push_str(&format!("INSERT INTO api_keys VALUES ({row}, 'sk-{row}', 'u/{row}', 'laptop');"));
    }
    sql
}

fn write_file(path: &Path, sql: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let database =
            sea_orm::Database::connect(format!("sqlite://{}?mode=rwc", path.display())).await.unwrap();
        database.execute_unprepared(sql).await.unwrap();
        database.close().await.unwrap();
    });
}

/// Runs the command; its exit code, what it printed, what it said.
fn import(node: &Node, url: &str, options: &[&str]) -> (Option<i32>, Value, String) {
    let folder = node.folder();
    fs::write(folder.join("source"), format!("{url}\n")).unwrap();
    fs::write(folder.join("secret"), format!("a secret that does not fit\n{SECRET}\n")).unwrap();
    let output = Command::new(node::binary())
        .args(["import", "--source-file", "source", "--secret-file", "secret", "--clear", "api_keys"])
        .args(options)
        .current_dir(folder)
        .env_clear()
        .env("CLAVIGER_URL", format!("http://{}", node.address()))
        .env("CLAVIGER_TOKEN", node::TOKEN)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default(), said)
}

fn counts(report: &Value, member: &str) -> Vec<u64> {
    let tables = report["tables"].as_object().unwrap();
    tables.values().map(|table| table[member].as_u64().unwrap()).collect()
}

fn takes_everything_in(node: &Node, url: &str, rows: usize) {
    let all = [rows as u64; 4];
    let client = node.client();
    let (code, report, said) = import(node, url, &[]);
    assert_eq!((code, said.as_str(), &report["applied"]), (Some(0), "", &json!(false)), "{report}");
    assert_eq!(counts(&report, "created"), all);
    client.get("/v1/offline-tokens/u%2F1").refused(404, "not_found");
    let (code, report, _) = import(node, url, &["--apply"]);
    assert_eq!((code, counts(&report, "created")), (Some(0), all.to_vec()), "{report}");
    for row in 0..rows {
        let tokens = client.get(&format!("/v1/auth-tokens/u%2F{row}/github")).expect(200);
        assert_eq!(
            (&tokens["access_token"], &tokens["refresh_token"]),
            (&json!(format!("access-{row}")), &json!(format!("refresh-{row}")))
        );
        assert_eq!(
            (&tokens["access_expires_at"], &tokens["refresh_expires_at"]),
            (&json!("2030-03-17T17:46:40Z"), &Value::Null)
        );
        assert_eq!(
            client.get(&format!("/v1/offline-tokens/u%2F{row}")).expect(200)["offline_token"],
            format!("offline-{row}")
        );
        let secret = client.get(&format!("/v1/secrets/u%2F{}/s{row}", row % 7)).expect(200);
        assert_eq!(
            (&secret["value"], &secret["description"]),
            (&json!(format!("secret-{row}")), &json!("d"))
        );
        assert_eq!(
            client.get(&format!("/v1/secrets/u%2F{row}/api-key.{row}")).expect(200)["value"],
            format!("sk-{row}")
        );
    }
    // Again: nothing.
    let (code, report, _) = import(node, url, &["--apply"]);
    assert_eq!(
        (code, counts(&report, "unchanged"), counts(&report, "changed")),
        (Some(0), all.to_vec(), vec![0; 4])
    );
    // What is newer here stays, unless it is said otherwise.
    put(&client, "/v1/offline-tokens/u%2F1", &json!({"offline_token": "newer"})).expect(200);
    put(&client, "/v1/secrets/u%2F1/s1", &json!({"value": "newer"})).expect(200);
    let (code, report, _) = import(node, url, &["--apply"]);
    assert_eq!((code, counts(&report, "conflicts").iter().sum::<u64>()), (Some(1), 2), "{report}");
    assert_eq!(client.get("/v1/secrets/u%2F1/s1").expect(200)["value"], "newer");
    let (code, report, _) = import(node, url, &["--apply", "--overwrite"]);
    assert_eq!((code, counts(&report, "changed").iter().sum::<u64>()), (Some(0), 2), "{report}");
    assert_eq!(client.get("/v1/secrets/u%2F1/s1").expect(200)["value"], "secret-1");
    assert_eq!(client.get("/v1/offline-tokens/u%2F1").expect(200)["offline_token"], "offline-1");
}

#[test]
fn a_file_is_taken_in() {
    let node = Node::start();
    let path = node.folder().join("legacy.db");
    write_file(&path, &tables(120));
    takes_everything_in(&node, &format!("sqlite://{}", path.display()), 120);
    // It was done by a client like any other.
    let written = node.records().into_iter().filter(|record| record["event"] == "secret_batch").count();
    assert!(written > 10, "{written}");
}

#[test]
fn a_server_is_taken_in() {
    let (node, postgres) = (Node::start(), Postgres::start());
    let url = postgres.create_database("legacy");
    let _none = postgres.psql_in("legacy", &tables(12));
    takes_everything_in(&node, &url, 12);
}

#[test]
fn rows_that_can_not_be_taken_in_are_listed() {
    let node = Node::start();
    let path = node.folder().join("legacy.db");
    write_file(
        &path,
        &format!(
            "CREATE TABLE custom_secrets (id INTEGER PRIMARY KEY, user_id TEXT, name TEXT, value TEXT);
             INSERT INTO custom_secrets VALUES (1, 'a', 'good', '{FERNET}'), (2, 'a', 'not a name', '{FERNET}'),
               (3, '..', 'n', '{FERNET}'), (4, 'a', 'plain', 'hunter2-in-clear'), (5, 'a', 'cut', '{}'), (6, 'a', 'good', '{FERNET}'),
               (7, NULL, 'n', '{FERNET}'), (8, 'a', 'none', NULL), (9, 'a', 'long', '{}');",
            &FERNET[..FERNET.len() - 4],
            sealed(&"x".repeat(65_537), 0),
        ),
    );
    let url = format!("sqlite://{}", path.display());
    let (code, report, said) = import(&node, &url, &["--apply"]);
    assert_eq!((code, said.as_str()), (Some(1), ""));
    let table = &report["tables"]["custom_secrets"];
    assert_eq!(
        (&table["rows"], &table["created"], &table["errors"]),
        (&json!(9), &json!(1), &json!(8)),
        "{report}"
    );
    let codes: std::collections::BTreeMap<&str, &str> = report["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| (problem["row"].as_str().unwrap(), problem["code"].as_str().unwrap()))
        .collect();
    let expected = [
        ("2", "name_not_valid"),
        ("3", "name_not_valid"),
        ("4", "not_encrypted"),
        ("5", "not_encrypted"),
        ("6", "duplicate"),
        ("7", "incomplete"),
        ("8", "incomplete"),
        ("9", "payload_too_large"),
    ];
    assert_eq!(codes, expected.into());
    assert!(!report.to_string().contains("hunter2") && !report.to_string().contains("xxxx"));
    assert_eq!(node.client().get("/v1/secrets/a/good").expect(200)["value"], "hello");
    // A table that is named must be there.
    let (code, _, said) = import(&node, &url, &["--table", "api_keys"]);
    assert_eq!((code, said.as_str()), (Some(1), "claviger: the database has no table api_keys\n"));
    for url in ["", "mysql://x", "sqlite:///nowhere/at/all.db", "postgres://u:hunter2@elsewhere.example/x"] {
        let (code, _, said) = import(&node, url, &[]);
        assert!(code == Some(1) && said.starts_with("claviger: ") && !said.contains("hunter2"), "{said}");
    }
}
