//! What was wrong once, or could be: retries, rights that end meanwhile, keys used on the side, races, rows that were edited.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use claviger_crypto::digest;
use claviger_tests::{Answer, Client, Cluster, Node, Postgres, cluster::at_once, process::until};
use serde_json::{Value, json};

use super::{named_key, node_patience, put};

/// The lock that writers of the stores share.
const LOCK: i64 = 0x636c_7673_746f_7265;
/// Keeps `custodian`s from writing the secret `a`.
const NO_A: &str = "forbid (principal in Claviger::Role::\"custodian\", action == Claviger::Action::\"secret.write\", resource) when { resource.name == \"a\" };";

fn policy(admin: &Client, text: &str) {
    assert_eq!(admin.send("PUT", "/v1/policies/no", Some(text.into()), &[]).status, 201);
}

/// A retry says of each item what came of it, and of one that was refused before it came to anything that it was.
#[test]
fn a_retry_tells_only_of_what_was_done() {
    let node = Node::start();
    let admin = node.client();
    let (custodian, _) = named_key(&admin, "c", &["custodian"]);
    let send = || {
        let body = json!({"put": [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}]});
        let body = body.to_string().into_bytes();
        custodian.send("POST", "/v1/secrets/alice:batch", Some(body), &[("Idempotency-Key", "k")]).expect(200)
    };
    policy(&admin, NO_A);
    let first = send();
    assert_eq!(
        (&first["put"][0]["error"]["code"], &first["put"][1]["version"]),
        (&json!("forbidden"), &json!(1))
    );
    admin.delete("/v1/policies/no").expect(204);
    let again = send();
    assert_eq!(again["put"][0]["error"]["code"], "invalid_request", "{again}");
    assert_eq!(again["put"][1], first["put"][1]);
    admin.get("/v1/secrets/alice/a").refused(404, "not_found");
    // And the other way round: what was done is not told to whoever may not do it any more.
    policy(&admin, &NO_A.replace("\"a\"", "\"b\""));
    let again = send();
    assert_eq!(
        (&again["put"][0]["error"]["code"], &again["put"][1]["error"]["code"]),
        (&json!("invalid_request"), &json!("forbidden"))
    );
}

/// Asks while writers have to wait; does something meanwhile, and hears the answer.
fn meanwhile(postgres: &Postgres, ask: impl FnOnce() -> Answer + Send, act: impl FnOnce()) -> Answer {
    let advisory = |granted: bool| {
        let sql = format!(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted = {granted} AND classid = {} AND objid = {}",
            LOCK >> 32,
            LOCK & 0xffff_ffff
        );
        until(node_patience(), || (postgres.psql(&sql).trim() != "0").then_some(())).expect("a lock");
    };
    std::thread::scope(|scope| {
        let holds = scope.spawn(|| postgres.psql(&format!("SELECT pg_advisory_lock({LOCK}), pg_sleep(4)")));
        advisory(true);
        let asked = scope.spawn(ask);
        advisory(false);
        act();
        assert!(!holds.is_finished() && !asked.is_finished());
        let _none = holds.join().unwrap();
        asked.join().unwrap()
    })
}

/// Whoever loses a right while they wait for their turn does not write.
#[test]
fn p4_rights_are_asked_about_again_when_it_is_written() {
    let cluster = Cluster::start(1, &[]);
    let (admin, postgres) = (cluster.client(0), &cluster.postgres);
    let (custodian, secret) = named_key(&admin, "c", &["custodian"]);
    let write = |path: &'static str, body: Value| {
        let custodian = custodian.clone();
        move || match path.ends_with(":batch") {
            true => custodian.post(path, &body),
            false => put(&custodian, path, &body),
        }
    };
    let one = || write("/v1/secrets/alice/a", json!({"value": "1"}));
    let batch = || {
        let put = json!([{"name": "a", "value": "1"}, {"name": "b", "value": "2"}]);
        write("/v1/secrets/alice:batch", json!({ "put": put }))
    };
    meanwhile(postgres, one(), || policy(&admin, NO_A)).refused(403, "forbidden");
    admin.delete("/v1/policies/no").expect(204);
    let done = meanwhile(postgres, batch(), || policy(&admin, NO_A)).expect(200);
    assert_eq!(
        (&done["put"][0]["error"]["code"], &done["put"][1]["version"]),
        (&json!("forbidden"), &json!(1)),
        "{done}"
    );
    admin.delete("/v1/policies/no").expect(204);
    let id = secret.split('_').nth(1).unwrap().to_owned();
    let end = || drop(admin.delete(&format!("/v1/api-keys/{id}")).expect(204));
    meanwhile(postgres, batch(), end).refused(401, "unauthorized");
    admin.get("/v1/secrets/alice/a").refused(404, "not_found");
    assert_eq!(admin.get("/v1/secrets/alice/b").expect(200)["version"], 1);
}

/// A value that another system keeps is taken in under the rules of a decryption, is on record as one, and is told to nobody.
#[test]
fn taking_a_value_in_is_a_use_of_its_key() {
    let node = Node::start();
    let admin = node.client();
    let made = |body: Value| drop(admin.post("/v1/keys", &body).expect(201));
    made(json!({"name": "once", "type": "aes256-gcm", "temporary": {"uses": 2}}));
    made(json!({"name": "old", "type": "aes256-gcm"}));
    let sealed = |key: &str| {
        let made = admin.post(&format!("/v1/keys/{key}/encrypt"), &json!({"plaintext": "aGVsbG8="}));
        let made = made.expect(200);
        (json!({"ciphertext": made["ciphertext"], "key": key, "name": "s"}), made["kid"].clone())
    };
    let single = |mut body: Value| {
        let _none = body.as_object_mut().unwrap().remove("name");
        put(&admin, "/v1/secrets/alice/s", &body)
    };
    let (once, _) = sealed("once");
    single(once.clone()).refused(400, "unsupported_operation");
    let done = admin.post("/v1/secrets/alice:batch", &json!({"put": [once]})).expect(200);
    assert_eq!(done["put"][0]["error"]["code"], "unsupported_operation");
    let (old, kid) = sealed("old");
    let answer = single(old.clone());
    assert!(!answer.text.contains("hello") && answer.expect(201).get("value").is_none());
    assert_eq!(admin.get("/v1/secrets/alice/s").expect(200)["value"], "hello");
    admin.post("/v1/secrets/alice:batch", &json!({"put": [old]})).expect(200);
    let exported = admin.get("/v1/secrets/alice/s?as=jwe&key=old").expect(200);
    let records = node.records();
    let of = |operation: &str| {
        let done = |record: &&Value| record["operation"] == operation && record["outcome"] == "ok";
        records.iter().rev().find(done).unwrap_or_else(|| panic!("{operation}"))
    };
    let written = of("secret.write");
    assert_eq!((&written["key"], &written["kid"]), (&json!("old"), &kid), "{written}");
    let batch = of("secret.batch");
    assert_eq!((&batch["keys"], &batch["kids"]), (&json!(["old"]), &json!([kid])), "{batch}");
    let read = of("secret.read");
    assert_eq!((&read["key"], &read["kid"]), (&json!("old"), &exported["kid"]), "{read}");
}

/// A token names no version: no more of them are tried than by a decryption.
#[test]
fn so_many_versions_are_tried() {
    let node = Node::start();
    let client = node.client();
    client.post("/v1/keys", &json!({"name": "f", "type": "fernet"})).expect(201);
    let made = client.post("/v1/keys/f/encrypt", &json!({"plaintext": "aGVsbG8="})).expect(200);
    let (take_in, open) =
        (json!({"ciphertext": made["ciphertext"], "key": "f"}), json!({"ciphertext": made["ciphertext"]}));
    let rotate =
        || drop(client.post("/v1/keys/f/rotate", &json!({"force": true, "reason": "drill"})).expect(200));
    (0..60).for_each(|_| rotate());
    client.post("/v1/keys/f/decrypt", &open).expect(200);
    put(&client, "/v1/secrets/alice/s", &take_in).expect(201);
    (0..10).for_each(|_| rotate());
    client.post("/v1/keys/f/decrypt", &open).refused(400, "decryption_failed");
    put(&client, "/v1/secrets/alice/s", &take_in).refused(400, "decryption_failed");
}

/// Nothing is opened for somebody who may not write it.
#[test]
fn the_right_comes_before_the_key() {
    let node = Node::start();
    let admin = node.client();
    let (alice, _) = named_key(&admin, "alice", &["owner"]);
    let item = json!({"name": "s", "ciphertext": "clv:x:AAAA", "key": "none"});
    let done = alice.post("/v1/secrets/bob:batch", &json!({"put": [item]})).expect(200);
    assert_eq!(done["put"][0]["error"]["code"], "not_found", "{done}");
    let done = alice.post("/v1/secrets/alice:batch", &json!({"put": [item]})).expect(200);
    assert_eq!(done["put"][0]["error"]["code"], "key_not_found", "{done}");
}

/// A deletion finds what is there, whoever writes it anew at the same time.
#[test]
fn a_deletion_misses_no_secret_that_is_being_written() {
    let cluster = Cluster::start(2, &[]);
    let path = "/v1/secrets/alice/s";
    for round in 0..30 {
        let _any = put(&cluster.client(0), path, &json!({"value": "before"}));
        let statuses = at_once(5, |index| {
            let client = cluster.client(index % 2);
            if index == 4 {
                claviger_tests::process::pause(Duration::from_millis(round % 8));
                client.delete(path).status
            } else {
                put(&client, path, &json!({"value": index.to_string()})).status
            }
        });
        assert_eq!(statuses[4], 204, "{round}: {statuses:?}");
        assert!(statuses.iter().all(|status| matches!(status, 200 | 201 | 204)), "{statuses:?}");
    }
}

/// Whoever reads the database can't try out what was written under an `Idempotency-Key`.
#[test]
fn p5_requests_can_not_be_guessed_from_what_is_kept() {
    let cluster = Cluster::start(1, &[]);
    let (client, path) = (cluster.client(0), "/v1/secrets/alice:batch");
    let body = json!({"put": [{"name": "pin", "value": "1234"}]}).to_string().into_bytes();
    let send = || client.send("POST", path, Some(body.clone()), &[("Idempotency-Key", "k")]).expect(200);
    assert_eq!(send(), send());
    let mut request = Vec::new();
    for part in [b"POST".as_slice(), path.as_bytes(), &body] {
        request.extend_from_slice(&(part.len() as u64).to_be_bytes());
        request.extend_from_slice(part);
    }
    let kept = cluster.postgres.psql("SELECT encode(request_hash, 'hex') FROM idempotency");
    assert_eq!(kept.trim().len(), 64, "{kept}");
    for guess in [digest::sha256(&request), digest::sha256(&body)] {
        assert_ne!(kept.trim(), hex::encode(guess));
    }
}

/// The number that somebody wrote into a row says nothing of the next one.
#[test]
fn p7_a_number_that_was_edited_is_not_counted_on() {
    let cluster = Cluster::start(1, &[]);
    let (client, postgres, path) = (cluster.client(0), &cluster.postgres, "/v1/secrets/alice/s");
    for version in 1..=3 {
        let _any = put(&client, path, &json!({"value": format!("v{version}")}));
    }
    let numbers = || {
        let versions = client.get(&format!("{path}/versions")).expect(200);
        let items = versions["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["version"].as_u64()).collect::<Vec<_>>()
    };
    let _none = postgres.psql("UPDATE secrets SET version = 9223372036854775807");
    client.get(path).refused(409, "key_state_conflict");
    assert_eq!(put(&client, path, &json!({"value": "anew"})).expect(200)["version"], 3);
    assert_eq!(client.get(path).expect(200)["value"], "anew");
    assert_eq!(numbers(), [Some(3), Some(2), Some(1)]);
    assert_eq!(client.get(&format!("{path}?version=2")).expect(200)["value"], "v2");
    // With no history that is sound it begins anew.
    let _none = postgres.psql(
        "UPDATE secrets SET version = -5; UPDATE secret_versions SET version = version + 9223372036854775800",
    );
    assert_eq!(put(&client, path, &json!({"value": "again"})).expect(200)["version"], 1);
    assert_eq!(numbers(), [Some(1)]);
    assert_eq!(put(&client, path, &json!({"value": "2"})).expect(200)["version"], 2);
    assert_eq!(numbers(), [Some(2), Some(1)]);
    assert_eq!(client.get(&format!("{path}?version=1")).expect(200)["value"], "again");
    // Tokens have no history.
    let tokens = "/v1/auth-tokens/alice/p";
    put(&client, tokens, &json!({"access_token": "a"})).expect(201);
    let _none = postgres.psql("UPDATE auth_tokens SET version = 9223372036854775807");
    assert_eq!(put(&client, tokens, &json!({"access_token": "b"})).expect(200)["version"], 1);
    assert_eq!(client.get(tokens).expect(200)["access_token"], "b");
}

/// Tokens that do not fit have their problem in their place.
#[test]
fn one_long_pair_does_not_fail_the_others() {
    let node = Node::start();
    let client = node.client();
    let long = "\u{1}".repeat(60_000);
    let item = |user: &str, token: &str| json!({"user": user, "provider": "p", "access_token": token});
    let done = client
        .post("/v1/auth-tokens:batch", &json!({"put": [item("a", &long), item("b", "short")]}))
        .expect(200);
    assert_eq!(done["put"][0]["error"]["code"], "payload_too_large");
    assert_eq!(done["put"][1]["version"], 1);
}

/// Of what the caller may not see a page says nothing, not even by a cursor.
#[test]
fn a_page_tells_of_nothing_that_is_not_seen() {
    let node = Node::start();
    let admin = node.client();
    policy(
        &admin,
        "permit (principal in Claviger::Role::\"app\", action in Claviger::Action::\"storing\", resource)
         when { resource.owner == \"alice\" && resource.name like \"app-*\" };",
    );
    let (app, _) = named_key(&admin, "a", &["app"]);
    let names: Vec<String> =
        ["aaa", "zzz"].into_iter().map(str::to_owned).chain((0..60).map(|n| format!("app-{n:02}"))).collect();
    for chunk in names.chunks(50) {
        let put: Vec<Value> = chunk.iter().map(|name| json!({"name": name, "value": "v"})).collect();
        admin.post("/v1/secrets/alice:batch", &json!({ "put": put })).expect(200);
    }
    let page = |query: &str| app.get(&format!("/v1/secrets/alice?{query}")).expect(200);
    let first = page("limit=59");
    assert_eq!(first["items"].as_array().unwrap().len(), 59);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = page(&format!("limit=59&cursor={cursor}"));
    assert_eq!((&second["items"][0]["name"], &second["next_cursor"]), (&json!("app-59"), &Value::Null));
    // Exactly all there is: no further page.
    let whole = page("limit=60");
    assert_eq!((whole["items"].as_array().unwrap().len(), &whole["next_cursor"]), (60, &Value::Null));
    // After the last one nothing comes, and that is no error.
    let last = URL_SAFE_NO_PAD.encode("app-59");
    assert_eq!(page(&format!("cursor={last}"))["items"], json!([]));
}
