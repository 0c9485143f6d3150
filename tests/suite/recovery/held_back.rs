//! A restored deployment makes nothing new until it is released, and knows what ended after the backup.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use claviger_tests::{Node, node, process, seed, volume};
use serde_json::{Value, json};

use super::{MASTER, Safe, check, populate, release, serve};
use crate::cli::run;

#[test]
fn what_was_restored_is_held_back_until_it_is_released() {
    let safe = Safe::new();
    let node = Node::start();
    let before = populate(&node.client());
    safe.backup(node.folder(), &[], "file");
    drop(node);
    let folder = tempfile::tempdir().unwrap();
    safe.restore(folder.path(), &[], ("file", &[])).json();
    let mut node = serve(folder);
    let client = node.client();
    check(&client, &before);
    let put = |path: &str| client.send("PUT", path, Some(br#"{"value":"x"}"#.to_vec()), &[]);
    let refused = |answer: claviger_tests::Answer| {
        assert!(!answer.header("retry-after").is_empty());
        answer.refused(503, "quarantined");
    };
    refused(client.post("/v1/tokens", &json!({"key": "es"})));
    refused(client.post("/v1/tokens/refresh", &json!({"refresh_token": before.pair["refresh_token"]})));
    refused(client.post("/v1/keys/data-fernet/encrypt", &json!({"plaintext": "aGk="})));
    refused(client.post("/v1/keys/data-aes256-gcm/datakey", &json!({})));
    refused(client.post("/v1/keys/mac/hmac", &json!({"message": "aGk="})));
    refused(put("/v1/secrets/alice/new"));
    let ready = client.get("/readyz").expect(200);
    assert_eq!(ready["status"], "quarantined", "{ready}");
    assert_eq!(client.get("/health").expect(200)["dependencies"]["restore"]["status"], "degraded");
    // What ends something is done at once.
    client.post("/v1/tokens/revoke", &json!({"token": before.tokens[0]["token"]})).expect(200);
    client.post("/v1/keys/hs/rotate", &json!({"force": true, "reason": "test"})).expect(200);
    // Who may not release it is told so, and it is so after a restart too.
    client
        .with_token(Some(&before.api_key))
        .post("/v1/restore/release", &json!({}))
        .refused(403, "forbidden");
    node.restart();
    let client = node.client();
    client.post("/v1/tokens", &json!({"key": "es"})).refused(503, "quarantined");
    release(&client);
    client.post("/v1/tokens", &json!({"key": "es"})).expect(201);
    client.post("/v1/keys/data-fernet/encrypt", &json!({"plaintext": "aGk="})).expect(200);
    assert_eq!(client.post("/v1/restore/release", &json!({})).expect(200)["released"], false);
    assert_eq!(client.get("/readyz").expect(200)["status"], "ready");
    let events = client.get("/v1/audit?event=deployment_restored").expect(200);
    assert_eq!(events["items"].as_array().unwrap().len(), 1, "{events}");
}

/// The audit log is newer than the backup: what it says to have ended has ended.
#[test]
fn what_ended_after_the_backup_has_ended_after_the_restore() {
    let safe = Safe::new();
    let mut node = Node::start();
    let client = node.client();
    let before = populate(&client);
    for name in ["later", "paused", "gone"] {
        client.post("/v1/keys", &json!({"name": name, "type": "es256"})).expect(201);
    }
    let issue = |key: &str, subject: &str| {
        client.post("/v1/tokens", &json!({"key": key, "subject": subject})).expect(201)
    };
    let tokens = [
        issue("es", "eve"),
        issue("es", "frank"),
        issue("later", "x"),
        issue("paused", "x"),
        issue("hs", "y"),
    ];
    let lost = client.post("/v1/api-keys", &json!({"name": "lost", "roles": ["verifier"]})).expect(201);
    let made = safe.backup(node.folder(), &[], "old");
    client.post("/v1/tokens/revoke", &json!({"token": tokens[0]["token"]})).expect(200);
    client.post("/v1/tokens/revoke", &json!({"subject": "frank"})).expect(200);
    client.post("/v1/keys/later/versions/1/compromise", &json!({"reason": "stolen"})).expect(200);
    client.post("/v1/keys/paused/versions/1/suspend", &json!({"reason": "doubt"})).expect(200);
    client.delete(&format!("/v1/api-keys/{}", lost["id"].as_str().unwrap())).expect(204);
    client.post("/v1/keys", &json!({"name": "younger", "type": "es256"})).expect(201);
    assert!(node.terminate().success());
    let audit = node.folder().join("data/audit");

    let folder = tempfile::tempdir().unwrap();
    let ran = safe.restore(folder.path(), &[], ("old", &["--audit-dir", audit.to_str().unwrap()]));
    assert!(ran.error.contains("the audit log goes on after the backup"), "{}", ran.error);
    let done: Value = serde_json::from_slice(&ran.output).unwrap();
    assert_eq!(done["audit"]["is_newer"], true, "{done}");
    assert!(done["audit"]["newest_epoch"].as_u64().unwrap() > made["epoch"].as_u64().unwrap());
    assert_eq!(done["audit"]["lost"]["key_created"], 1, "{done}");
    let replayed = &done["replayed"];
    assert_eq!((&replayed["versions"], &replayed["api_keys"]), (&json!(2), &json!(1)), "{done}");
    assert!(replayed["revocations"].as_u64().unwrap() >= 2, "{done}");
    let node = serve(folder);
    let client = node.client();
    check(&client, &before);
    let valid = |token: &Value| {
        client.post("/v1/tokens/verify", &json!({"token": token["token"]})).expect(200)["valid"].clone()
    };
    let verdicts: Vec<Value> = tokens.iter().map(valid).collect();
    assert_eq!(verdicts, [json!(false), json!(false), json!(false), json!(false), json!(true)]);
    let state = |name: &str| {
        let listed = client.get(&format!("/v1/keys/{name}/versions")).expect(200);
        let items = listed["items"].as_array().unwrap().clone();
        items.iter().find(|version| version["version"] == 1).unwrap()["state"].clone()
    };
    assert_eq!(
        (state("later"), state("paused"), state("gone")),
        (json!("compromised"), json!("suspended"), json!("active"))
    );
    client.with_token(lost["secret"].as_str()).get("/v1/keys").refused(401, "unauthorized");
    client.get("/v1/keys/younger").refused(404, "key_not_found");
}

/// A restore that was cut off leaves a database that nobody serves from.
#[test]
fn a_restore_that_was_not_finished_is_not_served() {
    use sea_orm::ConnectionTrait as _;
    let safe = Safe::new();
    let node = Node::start();
    safe.backup(node.folder(), &[], "file");
    drop(node);
    // In the middle of the file's rows: the transaction is gone with the process.
    let folder = tempfile::tempdir().unwrap();
    safe.restore(folder.path(), &[], ("file", &[])).json();
    let path = folder.path().join("data/claviger.db");
    crate::tampered::run(async {
        let connection = crate::tampered::open(&path).await;
        let sql =
            "UPDATE ring_meta SET restored = replace(restored, '\"complete\":true', '\"complete\":false')";
        connection.execute_unprepared(sql).await.unwrap();
        connection.close().await.unwrap();
    });
    // Edited like this, it is not believed at all; the service does not start either way.
    let environment = [MASTER, ("CLAVIGER_BOOTSTRAP_TOKEN", node::TOKEN)];
    let (code, error) = node::refused_start(folder.path(), &environment);
    assert_ne!(code, Some(0));
    assert!(error.contains("ring_meta") || error.contains("was not finished"), "{error}");
}

/// It may say how far it is.
fn succeeds(folder: &Path, arguments: &[&str]) {
    let ran = run(folder, arguments, b"", &[MASTER]);
    assert_eq!(ran.code, Some(0), "{}", ran.error);
}

/// P1: whenever a restore is killed, what it leaves is nothing, or is refused by name, or is the whole; and a second one makes the whole of it.
#[test]
fn p1_a_restore_that_is_killed_is_never_taken_for_a_whole_one() {
    const ROUNDS: u32 = 6;
    let (safe, rows) = (Safe::new(), volume(50_000));
    let node = Node::start();
    node.client().post("/v1/keys", &json!({"name": "k", "type": "hs256"})).expect(201);
    let token = node.client().post("/v1/tokens", &json!({"key": "k"})).expect(201)["token"].clone();
    let database = node.database();
    let folder = node.into_folder();
    crate::tampered::run(seed::revocations(&database, rows, super::volume::now()));
    let file = safe.file("file");
    let recipient = ["backup", "--output", &file, "--recipient", &safe.recipient];
    succeeds(folder.path(), &recipient);
    let identity = safe.file("identity");
    let arguments = ["restore", "--input", &file, "--identity", &identity];
    let whole = tempfile::tempdir().unwrap();
    let began = Instant::now();
    succeeds(whole.path(), &arguments);
    let lasts = began.elapsed();
    let mut left = [0; 3];
    for round in 0..ROUNDS {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(node::binary())
            .args(arguments)
            .current_dir(folder.path())
            .env_clear()
            .envs([MASTER])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        process::pause(lasts * round / (ROUNDS - 1));
        child.kill().unwrap();
        let _status = child.wait().unwrap();
        let again = run(folder.path(), &arguments, b"", &[MASTER]);
        if again.code == Some(0) {
            left[0] += 1;
        } else if node::refused_start(folder.path(), &[MASTER]).1.contains("was not finished") {
            left[1] += 1;
            fs::remove_dir_all(folder.path().join("data")).unwrap();
            succeeds(folder.path(), &arguments);
        } else {
            assert!(again.error.contains("is not empty"), "{}", again.error);
            left[2] += 1;
        }
        let restored = serve(folder);
        let verified = restored.client().post("/v1/tokens/verify", &json!({"token": token}));
        assert_eq!(verified.expect(200)["valid"], true);
        assert_eq!(super::volume::revoked(&restored.database()), i64::try_from(rows).unwrap());
    }
    assert!(left[0] > 0, "nothing, refused, whole: {left:?}");
}
