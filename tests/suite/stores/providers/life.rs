//! Fetched, refreshed, ended: with a provider that does as it should.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use claviger_tests::{Issuer, Node, issuer::Reply, needles::Needles, process};
use serde_json::{Value, json};

use super::{PATH, SECRET, TOKEN, at, node, providers, recorded, seed};
use crate::stores::{named_key, node_patience, put};

#[test]
fn tokens_that_end_soon_are_refreshed_once() {
    let issuer = Issuer::start();
    issuer.reply(TOKEN, Reply::Rotate);
    let node = node(&issuer, &json!({}));
    let client = node.client();
    seed(&client, PATH, 1_200).expect(201);
    assert_eq!(client.get(PATH).expect(200)["access_token"], "a0");
    assert_eq!(issuer.posted(TOKEN).len(), 0, "twenty minutes are enough");
    for (number, seconds) in [(1, 600), (2, -10)] {
        let old = format!("r{}", number - 1);
        let body = json!({"access_token": "old", "refresh_token": old, "access_expires_at": at(seconds)});
        let before = put(&client, PATH, &body).expect(200)["version"].as_u64().unwrap();
        let batch = json!({"get": [{"user": "alice", "provider": "idp"}]});
        let batch = client.post("/v1/auth-tokens:batch", &batch).expect(200);
        assert_eq!(
            (&batch["get"][0]["refresh_due"], &batch["get"][0]["access_token"]),
            (&json!(true), &json!("old"))
        );
        let read = client.get(PATH);
        let tag = read.header("etag").to_owned();
        let read = read.expect(200);
        assert_eq!(
            (&read["access_token"], &read["refresh_token"]),
            (&json!(format!("a{number}")), &json!(format!("r{number}")))
        );
        assert_eq!(read["version"].as_u64(), Some(before + 1));
        let again = client.get(PATH);
        assert_eq!(again.header("etag"), tag);
        assert_eq!(again.expect(200), read);
        assert_eq!(issuer.posted(TOKEN).len(), number);
    }
    let posted = issuer.posted(TOKEN).remove(0);
    for field in
        ["grant_type=refresh_token", "refresh_token=r0", "client_id=app", &format!("client_secret={SECRET}")]
    {
        assert!(posted.split('&').any(|part| part == field), "{posted}");
    }
    assert_eq!(recorded(&node, "auth_token_refreshed"), 2);
    let metrics = node.internal().get("/metrics").text;
    let series = r#"claviger_provider_calls_total{provider="idp",call="refresh",outcome="ok"} 2"#;
    assert!(metrics.lines().any(|line| line == series), "{metrics}");
    let mut needles = Needles::default();
    needles.add("client secret", SECRET.as_bytes());
    for text in [node.log(), metrics, format!("{:?}", node.records())] {
        assert_eq!(needles.found_in(text.as_bytes()), Vec::<&str>::new());
    }
}

#[test]
fn a_client_says_who_it_is_by_a_header_and_a_provider_answers_by_a_form() {
    let issuer = Issuer::start();
    let form = b"access_token=a%2B1&expires_in=7200&token_type=bearer".to_vec();
    issuer.reply(TOKEN, Reply::Raw(200, "Content-Type: application/x-www-form-urlencoded\r\n", form));
    let node = node(&issuer, &json!({"auth_style": "basic", "client_secret": "s p:+"}));
    let client = node.client();
    seed(&client, PATH, 60).expect(201);
    let read = client.get(PATH).expect(200);
    // The refresh token stays.
    assert_eq!((&read["access_token"], &read["refresh_token"]), (&json!("a+1"), &json!("r0")));
    let basic = format!("authorization: basic {}", STANDARD.encode("app:s+p%3A%2B"));
    let heads = issuer.heads().join("\n");
    assert!(heads.to_lowercase().contains(&basic.to_lowercase()), "{heads}");
    assert!(!issuer.posted(TOKEN)[0].contains("client_"));
}

#[test]
fn what_has_ended_is_deleted_and_the_user_told() {
    let issuer = Issuer::start();
    issuer.reply(TOKEN, Reply::Raw(400, "", br#"{"error":"invalid_grant"}"#.to_vec()));
    let node = node(&issuer, &json!({}));
    let client = node.client();
    let gone = |body: &Value| {
        put(&client, PATH, body).expect(201);
        client.get(PATH).refused(409, "reauth_required");
        client.get(PATH).refused(404, "not_found");
    };
    gone(&json!({"access_token": "a", "access_expires_at": at(-1)}));
    gone(
        &json!({"access_token": "a", "refresh_token": "r", "access_expires_at": at(-1), "refresh_expires_at": at(-1)}),
    );
    assert_eq!(issuer.posted(TOKEN).len(), 0);
    gone(&json!({"access_token": "a", "refresh_token": "r", "access_expires_at": at(-1)}));
    gone(&json!({"access_token": "a", "refresh_token": "r", "access_expires_at": at(600)}));
    assert_eq!(issuer.posted(TOKEN).len(), 2);
    assert_eq!(recorded(&node, "auth_token_ended"), 4);
    // What can't be refreshed and has not ended is handed out; so is whatever no provider is configured for.
    put(&client, PATH, &json!({"access_token": "a", "access_expires_at": at(600)})).expect(201);
    client.get(PATH).expect(200);
    seed(&client, "/v1/auth-tokens/alice/other", -10).expect(201);
    assert_eq!(client.get("/v1/auth-tokens/alice/other").expect(200)["access_token"], "a0");
}

#[test]
fn a_code_becomes_tokens() {
    let issuer = Issuer::start();
    let node = node(&issuer, &json!({}));
    let client = node.client();
    let exchange = format!("{PATH}/exchange");
    let given = json!({"access_token": "a", "refresh_token": "r", "expires_in": 3_600});
    issuer.reply(TOKEN, Reply::Json(given));
    let verifier = "v".repeat(43);
    let code =
        json!({"code": "c&d", "redirect_uri": "https://app.example/back?x=1", "code_verifier": verifier});
    let made = client.post(&exchange, &code);
    let tag = made.header("etag").to_owned();
    let made = made.expect(201);
    assert_eq!((&made["access_token"], &made["refresh_token"]), (&json!("a"), &json!("r")));
    let read = client.get(PATH);
    assert_eq!(read.header("etag"), tag);
    assert_eq!(read.expect(200), made);
    assert_eq!(client.post(&exchange, &code).expect(200)["version"], 2);
    let posted = issuer.posted(TOKEN).remove(0);
    for field in [
        "grant_type=authorization_code",
        "code=c%26d",
        &format!("code_verifier={verifier}"),
        "redirect_uri=https%3A%2F%2Fapp.example%2Fback%3Fx%3D1",
    ] {
        assert!(posted.split('&').any(|part| part == field), "{posted}");
    }
    // The same answer under the same key, and the provider is not asked again.
    let asked = issuer.posted(TOKEN).len();
    let send =
        || client.send("POST", &exchange, Some(code.to_string().into_bytes()), &[("Idempotency-Key", "k")]);
    assert_eq!(send().expect(200), send().expect(200));
    assert_eq!(issuer.posted(TOKEN).len(), asked + 1);
    for bad in [
        json!({"code": "c"}),
        json!({"code": "", "redirect_uri": "u"}),
        json!({"code": "c\n", "redirect_uri": "u"}),
        json!({"code": "c", "redirect_uri": "u", "code_verifier": "short"}),
        json!({"code": "c", "redirect_uri": "u", "scope": "x"}),
    ] {
        client.post(&exchange, &bad).refused(400, "invalid_request");
    }
    let bare = json!({"code": "c", "redirect_uri": "u"});
    client.post("/v1/auth-tokens/alice/other/exchange", &bare).refused(400, "unsupported_operation");
    for (status, error, told) in [
        (400, "invalid_grant", (409, "reauth_required")),
        (400, "invalid_request", (400, "invalid_request")),
        (401, "invalid_client", (503, "provider_unavailable")),
        (500, "server_error", (503, "provider_unavailable")),
    ] {
        issuer.reply(TOKEN, Reply::Raw(status, "", json!({"error": error}).to_string().into_bytes()));
        client.post(&exchange, &bare).refused(told.0, told.1);
    }
    // What is stored stays.
    assert_eq!(client.get(PATH).expect(200)["access_token"], "a");
    // One of them the retry.
    assert_eq!(recorded(&node, "auth_token_exchanged"), 4);
}

#[test]
fn users_can_always_get_rid_of_tokens() {
    const REVOKE: &str = "/revoke";
    let issuer = Issuer::start();
    let node = node(&issuer, &json!({"revocation_endpoint": issuer.at(REVOKE)}));
    let client = node.client();
    let logout = format!("{PATH}/logout");
    client.post(&logout, &json!({})).refused(404, "not_found");
    issuer.reply(REVOKE, Reply::Raw(200, "", Vec::new()));
    seed(&client, PATH, 3_600).expect(201);
    assert_eq!(client.send("POST", &logout, None, &[]).expect(200), json!({"revoked": true}));
    client.get(PATH).refused(404, "not_found");
    let posted = issuer.posted(REVOKE);
    assert!(posted[0].starts_with("token=r0&token_type_hint=refresh_token"), "{posted:?}");
    assert!(posted[1].starts_with("token=a0&token_type_hint=access_token"), "{posted:?}");
    // One that fails: they stay, until somebody insists.
    for reply in [Reply::Raw(503, "", Vec::new()), Reply::Break] {
        issuer.reply(REVOKE, reply);
        seed(&client, PATH, 3_600).expect(201);
        client.post(&logout, &json!({})).refused(503, "provider_unavailable");
        client.get(PATH).expect(200);
        assert_eq!(client.post(&logout, &json!({"force": true})).expect(200), json!({"revoked": false}));
        client.get(PATH).refused(404, "not_found");
        seed(&client, PATH, 3_600).expect(201);
        client.delete(PATH).expect(204);
    }
    seed(&client, "/v1/auth-tokens/alice/other", 3_600).expect(201);
    let other = client.post("/v1/auth-tokens/alice/other/logout", &json!({}));
    assert_eq!(other.expect(200), json!({"revoked": false}), "nobody could be asked");
    assert_eq!(recorded(&node, "auth_token_logged_out"), 4);
}

/// P8: of another user's tokens a caller sees nothing, whatever they ask for.
#[test]
fn p8_only_owners_have_their_tokens_refreshed_revoked_or_verified() {
    let issuer = Issuer::start();
    let node = node(&issuer, &json!({"revocation_endpoint": issuer.at("/revoke")}));
    let admin = node.client();
    seed(&admin, PATH, -10).expect(201);
    let (bob, _) = named_key(&admin, "bob", &["owner"]);
    bob.get(PATH).refused(404, "not_found");
    for (verb, body) in [
        ("exchange", json!({"code": "c", "redirect_uri": "u"})),
        ("logout", json!({"force": true})),
        ("verify", json!({"token": "t"})),
    ] {
        bob.post(&format!("{PATH}/{verb}"), &body).refused(404, "not_found");
        bob.post(&format!("/v1/auth-tokens/bob%2F..%2Falice/idp/{verb}"), &body).refused(404, "not_found");
    }
    assert!(issuer.heads().is_empty(), "{:?}", issuer.heads());
    issuer.reply(TOKEN, Reply::Rotate);
    let (alice, _) = named_key(&admin, "alice", &["owner"]);
    assert_eq!(alice.get(PATH).expect(200)["access_token"], "a1");
}

/// Whoever asks and goes away: the pair that the provider has given is stored all the same, also when the node is told to stop meanwhile.
#[test]
fn a_refresh_outlives_whoever_has_begun_it() {
    let issuer = Issuer::start();
    issuer.reply(TOKEN, Reply::Rotate);
    issuer.delay(TOKEN, std::time::Duration::from_secs(3));
    let config = providers(&issuer, &json!({}));
    let mut node = Node::with(&[("CLAVIGER_PROVIDERS", &config), ("CLAVIGER_SERVER__REQUEST_TIMEOUT", "1s")]);
    let client = node.client();
    for path in [PATH, "/v1/auth-tokens/bob/idp"] {
        seed(&client, path, -10).expect(201);
    }
    client.get(PATH).refused(503, "overloaded");
    let stored = || {
        let batch = json!({"get": [{"user": "alice", "provider": "idp"}]});
        let read = client.post("/v1/auth-tokens:batch", &batch).expect(200);
        (read["get"][0]["access_token"] == "a1").then_some(())
    };
    process::until(node_patience(), stored).expect("the new pair");
    assert_eq!(issuer.posted(TOKEN).len(), 1);
    let body = json!({"access_token": "a", "refresh_token": "r1", "access_expires_at": at(-10)});
    put(&client, "/v1/auth-tokens/bob/idp", &body).expect(200);
    client.get("/v1/auth-tokens/bob/idp").refused(503, "overloaded");
    assert!(node.terminate().success());
    node.restart();
    assert_eq!(node.client().get("/v1/auth-tokens/bob/idp").expect(200)["access_token"], "a2");
    assert_eq!(issuer.posted(TOKEN).len(), 2);
}
