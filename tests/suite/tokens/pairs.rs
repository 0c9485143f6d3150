//! Access tokens with refresh tokens: the life of a pair.

use claviger_tests::{Answer, Client, Node, process};
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};

use super::{issue, verify};
use crate::{access::api_key, tampered};

pub(super) fn pair(client: &Client, body: Value) -> Value {
    let mut body = body;
    body["refresh"] = json!(true);
    issue(client, body)
}

pub(super) fn refresh(client: &Client, pair: &Value) -> Answer {
    client.post("/v1/tokens/refresh", &json!({"refresh_token": pair["refresh_token"]}))
}

pub(super) fn refresh_under(client: &Client, pair: &Value, key: &str) -> Answer {
    let body = json!({"refresh_token": pair["refresh_token"]}).to_string().into_bytes();
    client.send("POST", "/v1/tokens/refresh", Some(body), &[("Idempotency-Key", key)])
}

pub(super) fn code(client: &Client, pair: &Value) -> String {
    verify(client, json!({"token": pair["token"]}))["code"].as_str().unwrap_or("valid").to_owned()
}

fn time(pair: &Value, member: &str) -> i64 {
    let text = pair[member].as_str().unwrap_or_else(|| panic!("{member}: {pair}"));
    chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp()
}

#[test]
fn the_life_of_a_pair() {
    let node = Node::start();
    let client = node.client();
    for format in ["jws", "jwe"] {
        let claims = json!({"role": "r", "fid": "mine", "jti": "mine"});
        let first = pair(&client, json!({"format": format, "subject": "alice", "claims": claims}));
        let text = first["refresh_token"].as_str().unwrap();
        let parts: Vec<&str> = text.splitn(3, '_').collect();
        assert!(parts[0] == "clvr" && parts[1].len() == 32 && parts[2].len() >= 42, "{text}");
        assert_eq!(time(&first, "expires_at") - time(&first, "issued_at"), 3_600);
        let refresh_ttl = time(&first, "refresh_expires_at") - time(&first, "issued_at");
        assert!((7 * 86_400..=7 * 86_400 + 1).contains(&refresh_ttl), "{first}");
        let said = verify(&client, json!({"token": first["token"]}))["claims"].clone();
        let family = said["fid"].as_str().unwrap().to_owned();
        assert!(family != "mine" && uuid::Uuid::parse_str(&family).unwrap().get_version_num() == 7);

        let second = refresh(&client, &first).expect(200);
        assert_ne!(second["refresh_token"], first["refresh_token"]);
        assert_ne!(second["jti"], first["jti"]);
        let members: Vec<&str> = second.as_object().unwrap().keys().map(String::as_str).collect();
        let expected =
            ["token", "kid", "jti", "issued_at", "expires_at", "refresh_token", "refresh_expires_at"];
        assert_eq!(members, expected);
        let again = verify(&client, json!({"token": second["token"]}))["claims"].clone();
        for claim in ["sub", "role", "fid", "iss"] {
            assert_eq!(again[claim], said[claim], "{claim}");
        }
        assert_eq!(again["jti"], second["jti"]);
        // The first access token is as good as it was.
        assert_eq!((code(&client, &first).as_str(), code(&client, &second).as_str()), ("valid", "valid"));
        // What has been spent tells of a thief: nobody of the family gets or does anything more.
        refresh(&client, &first).refused(401, "token_reused");
        refresh(&client, &second).refused(401, "token_revoked");
        refresh(&client, &first).refused(401, "token_revoked");
        assert_eq!(code(&client, &first), "token_revoked");
        assert_eq!(code(&client, &second), "token_revoked");
    }
    // A plain token has no family, whatever it asks for.
    let plain = issue(&client, json!({"claims": {"fid": "mine"}}));
    assert!(plain.get("refresh_token").is_none() && plain.get("refresh_expires_at").is_none());
    assert_eq!(verify(&client, json!({"token": plain["token"]}))["claims"].get("fid"), None);
}

#[test]
fn what_can_not_be_refreshed() {
    let node = Node::with(&[("CLAVIGER_TOKENS__REFRESH_TTL", "2s"), ("CLAVIGER_TOKENS__ACCESS_TTL", "30m")]);
    let client = node.client();
    let made = pair(&client, json!({}));
    assert_eq!(time(&made, "expires_at") - time(&made, "issued_at"), 1_800);
    let text = made["refresh_token"].as_str().unwrap();
    let (head, _) = text.rsplit_once('_').unwrap();
    for wrong in [
        "",
        "clvr_",
        "clvr__",
        text.trim_start_matches("clvr_"),
        &format!("{text}x"),
        &format!("{head}_x"),
        &format!("{head}_"),
    ] {
        client.post("/v1/tokens/refresh", &json!({"refresh_token": wrong})).refused(401, "token_invalid");
    }
    client
        .post("/v1/tokens/refresh", &json!({"refresh_token": text.to_uppercase()}))
        .refused(401, "token_invalid");
    client.post("/v1/tokens/refresh", &json!({"refresh_token": 7})).refused(400, "invalid_request");
    client.post("/v1/tokens/refresh", &json!({})).refused(400, "invalid_request");
    // None of that was a use.
    let next = refresh(&client, &made).expect(200);
    process::until(std::time::Duration::from_secs(20), || {
        let idle = pair(&client, json!({}));
        process::pause(std::time::Duration::from_millis(2_100));
        let answer = refresh(&client, &idle);
        (answer.status == 401).then(|| drop(answer.refused(401, "token_expired")))
    })
    .expect("it ends");
    drop(next);
    let body = json!({"name": "t", "type": "es256", "usage": "token", "temporary": {"uses": 2}});
    client.post("/v1/keys", &body).expect(201);
    client.post("/v1/tokens", &json!({"key": "t", "refresh": true})).refused(400, "unsupported_operation");
}

/// The rules of the key are those of now, not those of the first issue.
#[test]
fn claims_are_judged_anew() {
    let node = Node::start();
    let client = node.client();
    client.post("/v1/keys", &json!({"name": "k", "type": "es256"})).expect(201);
    let body = json!({"key": "k", "audience": "a", "expires_in": "2h"});
    let made = pair(&client, body.clone());
    let rules = |rules: Value| drop(client.patch("/v1/keys/k", &json!({"claims": rules})).expect(200));
    rules(json!({"max_ttl": "10m"}));
    let short = refresh(&client, &made).expect(200);
    assert_eq!(time(&short, "expires_at") - time(&short, "issued_at"), 600);
    rules(json!({"max_ttl": null, "audiences": ["b"]}));
    refresh(&client, &short).refused(401, "token_invalid");
    rules(json!({"audiences": null, "required": ["role"]}));
    refresh(&client, &short).refused(401, "token_invalid");
    // It was not spent by that.
    rules(json!({"required": null}));
    let long = refresh(&client, &short).expect(200);
    assert_eq!(time(&long, "expires_at") - time(&long, "issued_at"), 7_200);
    // A key that is going makes nothing, and one that is gone has no tokens.
    client.patch("/v1/keys/k", &json!({"deletion_allowed": true})).expect(200);
    client.delete("/v1/keys/k?after=0s").expect(200);
    let gone = process::until(std::time::Duration::from_secs(20), || {
        let answer = refresh(&client, &long);
        (answer.status == 401).then_some(answer)
    });
    gone.expect("the key goes").refused(401, "token_invalid");
}

/// Whoever refreshes needs the right to it, and the right to what is issued.
#[test]
fn a_refresh_token_is_no_right() {
    let node = Node::start();
    let admin = node.client();
    let (_, signer) = api_key(&admin, &["signer"]);
    let (_, verifier) = api_key(&admin, &["verifier"]);
    let (_, nobody) = api_key(&admin, &[]);
    let plain = pair(&admin, json!({}));
    let credential = pair(&admin, json!({"subject": "s", "audience": "claviger"}));
    refresh(&verifier, &plain).refused(403, "forbidden");
    refresh(&nobody, &plain).refused(403, "forbidden");
    refresh(&admin.with_token(None), &plain).refused(401, "unauthorized");
    refresh(&signer, &credential).refused(403, "forbidden");
    let plain = refresh(&signer, &plain).expect(200);
    let credential = refresh(&admin, &credential).expect(200);
    // Nor does a refused one tell of a thief.
    refresh(&verifier, &plain).refused(403, "forbidden");
    refresh(&signer, &plain).expect(200);
    // A credential that was revoked lets nobody in.
    let bearer = admin.with_token(credential["token"].as_str());
    bearer.get("/v1/keys").refused(403, "forbidden");
    admin.post("/v1/tokens/revoke", &json!({"token": credential["token"]})).expect(200);
    bearer.get("/v1/keys").refused(401, "token_revoked");
}

/// A leeway forgives a client that tries again, and no more.
#[test]
fn within_the_leeway_the_same_pair_comes_again() {
    let node = Node::with(&[("CLAVIGER_TOKENS__REUSE_LEEWAY", "3s")]);
    let client = node.client();
    let first = pair(&client, json!({"subject": "s"}));
    let second = refresh(&client, &first).expect(200);
    assert_eq!(refresh(&client, &first).expect(200), second);
    assert_eq!(code(&client, &second), "valid");
    process::pause(std::time::Duration::from_millis(3_100));
    refresh(&client, &first).refused(401, "token_reused");
    refresh(&client, &second).refused(401, "token_revoked");
}

/// The same `Idempotency-Key` gets the same pair, after a crash too; another one does not.
#[test]
fn a_retry_gets_the_same_pair() {
    let mut node = Node::start();
    let first = pair(&node.client(), json!({"subject": "s"}));
    let second = refresh_under(&node.client(), &first, "a").expect(200);
    node.restart();
    let client = node.client();
    assert_eq!(refresh_under(&client, &first, "a").expect(200), second);
    assert_eq!(code(&client, &second), "valid");
    refresh_under(&client, &second, "a").refused(400, "invalid_request");
    let third = refresh_under(&client, &second, "b").expect(200);
    refresh_under(&client, &first, "c").refused(401, "token_reused");
    assert_eq!(code(&client, &third), "token_revoked");
}

/// What happened is on record, in the log and in the database.
#[test]
fn events_tell_of_refreshes_and_thieves() {
    let node = Node::start();
    let client = node.client();
    let first = pair(&client, json!({"subject": "alice@example"}));
    refresh(&client, &first).expect(200);
    refresh(&client, &first).refused(401, "token_reused");
    client.post("/v1/tokens/revoke", &json!({"subject": "alice@example"})).expect(200);
    let listed = |event: &str| {
        let page = client.get(&format!("/v1/audit?event={event}")).expect(200);
        page["items"].as_array().unwrap().clone()
    };
    for (event, count) in [("token_refreshed", 1), ("token_revoked", 2)] {
        assert_eq!(listed(event).len(), count, "{event}: {:?}", listed(event));
    }
    let reused = process::until(std::time::Duration::from_secs(20), || {
        let reused = listed("refresh_reused");
        (!reused.is_empty()).then_some(reused)
    });
    assert_eq!(reused.expect("it is kept")[0]["outcome"], "token_reused");
    let records = node.records();
    for event in ["token_issued", "token_refreshed", "refresh_reused", "token_revoked"] {
        assert!(records.iter().any(|record| record["event"] == event), "{event}");
    }
    let text = serde_json::to_string(&records).unwrap();
    assert!(!text.contains("alice@example"), "{text}");
    let metrics = client.get("/metrics").text;
    for line in [
        "claviger_token_refreshes_total{outcome=\"refreshed\"} 1",
        "claviger_token_refreshes_total{outcome=\"reused\"} 1",
        "claviger_revocations_live 2",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

/// Whoever writes to the database makes no token good that was spent, and no other one either.
#[test]
fn an_edited_refresh_token_is_nobodys() {
    let mut edits: Vec<(String, String)> = vec![("spent_at".to_owned(), "NULL".to_owned())];
    for (column, kind) in tampered::columns("refresh_tokens") {
        edits.push((column.clone(), tampered::changed(&column, &kind)));
    }
    assert!(edits.len() > 10, "{edits:?}");
    let node = Node::start();
    let made: Vec<Value> = edits.iter().map(|_| pair(&node.client(), json!({"subject": "s"}))).collect();
    let next: Vec<Value> = made.iter().map(|made| refresh(&node.client(), made).expect(200)).collect();
    let id = |pair: &Value| {
        let text = pair["refresh_token"].as_str().unwrap().split('_').nth(1).unwrap().to_owned();
        uuid::Uuid::parse_str(&text).unwrap().to_string()
    };
    let folder = node.into_folder();
    let path = folder.path().join("data/claviger.db");
    tampered::run(async {
        let connection = tampered::open(&path).await;
        for ((column, value), (made, next)) in edits.iter().zip(made.iter().zip(&next)) {
            // The spent one as well as the one that is not.
            for pair in [made, next] {
                let sql = format!("UPDATE refresh_tokens SET {column} = {value} WHERE id = '{}'", id(pair));
                connection.execute_unprepared(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            }
        }
        connection.close().await.unwrap();
    });
    let node = Node::within(folder, &[]);
    let client = node.client();
    for ((column, value), (made, next)) in edits.iter().zip(made.iter().zip(&next)) {
        let refused = refresh(&client, made);
        assert_eq!(refused.status, 401, "{column} = {value}: {}", refused.text);
        let answer = refresh(&client, next);
        // Only one of the edits leaves this row as it was.
        let is_same = column == "spent_at" && value == "NULL";
        assert_eq!(answer.status, if is_same { 200 } else { 401 }, "{column} = {value}: {}", answer.text);
    }
    assert!(node.log().contains("row was changed outside the service"), "{}", node.log());
}
