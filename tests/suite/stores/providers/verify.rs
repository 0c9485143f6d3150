//! Tokens of a provider, verified by its keys or by its word.

use claviger_entity::KeyType;
use claviger_tests::{
    Client, Issuer,
    issuer::{ForeignKey, KEYS, Reply},
};
use serde_json::{Value, json};

use super::{PATH, at, node};

fn verify(client: &Client, token: &str, audience: Option<&str>) -> Value {
    let mut body = json!({"token": token});
    if let Some(audience) = audience {
        body["audience"] = json!(audience);
    }
    client.post(&format!("{PATH}/verify"), &body).expect(200)
}

#[test]
fn tokens_are_verified_by_keys() {
    let (key, other) = (ForeignKey::new(KeyType::Rs256, "k"), ForeignKey::new(KeyType::Es256, "other"));
    let issuer = Issuer::with(&[&key]);
    let node = node(&issuer, &json!({"jwks_uri": issuer.at(KEYS), "issuer": "https://idp"}));
    let client = node.client();
    let claims = |more: Value| {
        let mut claims = json!({"iss": "https://idp", "sub": "s", "aud": "app", "exp": at(600).timestamp()});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        claims
    };
    let good = claims(json!({}));
    let answer = verify(&client, &key.token(&good), None);
    assert_eq!((&answer["valid"], &answer["claims"]), (&json!(true), &good), "{answer}");
    for (token, audience, code) in [
        (key.token(&claims(json!({"aud": "api"}))), None, "claims_invalid"),
        (key.token(&good), Some("api"), "claims_invalid"),
        (key.token(&claims(json!({"iss": "https://other"}))), None, "claims_invalid"),
        (key.token(&claims(json!({"exp": at(-1).timestamp()}))), None, "token_expired"),
        (key.token_under(&json!({"alg": "PS256", "kid": "k"}), &good), None, "signature_invalid"),
        (other.token(&good), None, "key_not_found"),
        ("opaque".to_owned(), None, "token_malformed"),
        (format!("{}x", key.token(&good)), None, "token_malformed"),
    ] {
        let answer = verify(&client, &token, audience);
        assert_eq!((&answer["valid"], &answer["code"]), (&json!(false), &json!(code)), "{answer}");
    }
    assert_eq!(verify(&client, &key.token(&claims(json!({"aud": "api"}))), Some("api"))["valid"], true);
    assert_eq!(
        verify(&client, &key.token(&claims(json!({"aud": "api", "azp": "app"}))), None)["valid"],
        true
    );
    client.post(&format!("{PATH}/verify"), &json!({"token": ""})).refused(400, "invalid_request");
    let other = "/v1/auth-tokens/alice/other/verify";
    client.post(other, &json!({"token": "t"})).refused(400, "unsupported_operation");
}

#[test]
fn tokens_are_verified_by_the_word_of_the_provider() {
    const INTROSPECT: &str = "/introspect";
    let issuer = Issuer::start();
    let node = node(&issuer, &json!({"introspection_endpoint": issuer.at(INTROSPECT)}));
    let client = node.client();
    let says = |body: Value| issuer.reply(INTROSPECT, Reply::Json(body));
    says(json!({"active": true, "sub": "s", "exp": at(600).timestamp()}));
    let answer = verify(&client, "opaque", None);
    assert_eq!((&answer["valid"], &answer["claims"]["sub"]), (&json!(true), &json!("s")));
    assert!(issuer.posted(INTROSPECT)[0].starts_with("token=opaque&"));
    for (body, code) in [
        (json!({"active": false}), "token_inactive"),
        (json!({"active": true, "exp": at(-10).timestamp()}), "token_expired"),
        (json!({"active": true, "nbf": at(600).timestamp()}), "claims_invalid"),
    ] {
        says(body);
        let answer = verify(&client, "opaque", None);
        assert_eq!((&answer["valid"], &answer["code"]), (&json!(false), &json!(code)), "{answer}");
    }
    for lie in [
        Reply::Json(json!({"active": "true"})),
        Reply::Json(json!({})),
        Reply::Raw(200, "", b"<html>".to_vec()),
        Reply::Raw(401, "", b"{}".to_vec()),
        Reply::Raw(302, "Location: /x\r\n", Vec::new()),
        Reply::Break,
    ] {
        issuer.reply(INTROSPECT, lie);
        let body = json!({"token": "opaque"});
        client.post(&format!("{PATH}/verify"), &body).refused(503, "provider_unavailable");
    }
}
