//! Tokens, the JWKS and discovery.

mod feed;
mod floods;
mod pairs;
mod revocation;
mod spread;
mod thieves;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use claviger_tests::{Client, Node};
use serde_json::{Value, json};

fn verify(client: &Client, body: Value) -> Value {
    client.post("/v1/tokens/verify", &body).expect(200)
}

fn issue(client: &Client, body: Value) -> Value {
    client.post("/v1/tokens", &body).expect(201)
}

fn decoded(token: &Value, segment: usize) -> String {
    let segment = token.as_str().unwrap().split('.').nth(segment).unwrap().to_owned();
    String::from_utf8(URL_SAFE_NO_PAD.decode(segment).unwrap()).unwrap()
}

#[test]
fn headers_are_exact_and_reserved_claims_are_ours() {
    let node = Node::start();
    let client = node.client();
    let claims = json!({"iss": "evil", "exp": 1, "iat": 1, "jti": "x", "role": "r"});
    let made = issue(
        &client,
        json!({"claims": claims, "subject": "alice", "audience": ["a", "b"], "expires_in": "10m"}),
    );
    let kid = made["kid"].as_str().unwrap();
    assert_eq!(decoded(&made["token"], 0), format!(r#"{{"alg":"ES256","kid":"{kid}","typ":"JWT"}}"#));
    let read = verify(&client, json!({"token": made["token"], "audience": "b"}));
    let claims = &read["claims"];
    assert_eq!(read["valid"], true);
    assert_eq!(
        (&claims["sub"], &claims["role"], &claims["jti"]),
        (&json!("alice"), &json!("r"), &made["jti"])
    );
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);
    assert_eq!(claims["iss"], client.get("/.well-known/openid-configuration").expect(200)["issuer"]);
    assert_eq!(
        (&read["key"], &read["version"], &read["kid"]),
        (&json!("default-signing"), &json!(1), &made["kid"])
    );

    let made = issue(&client, json!({"format": "jwe", "claims": {"role": "r"}}));
    let kid = made["kid"].as_str().unwrap();
    assert_eq!(decoded(&made["token"], 0), format!(r#"{{"alg":"dir","enc":"A256GCM","kid":"{kid}"}}"#));
    assert!(made["token"].as_str().unwrap().contains(".."));
    assert_eq!(verify(&client, json!({"token": made["token"]}))["claims"]["role"], "r");
}

#[test]
fn what_can_not_be_issued() {
    let node = Node::start();
    let client = node.client();
    client.post("/v1/keys", &json!({"name": "k", "type": "es256", "claims": {"max_ttl": "1h", "audiences": ["a"], "required": ["role"]}})).expect(201);
    let good = json!({"key": "k", "claims": {"role": "r"}, "audience": "a"});
    issue(&client, good.clone());
    let edits = [
        json!({"expires_in": "2h"}),
        json!({"expires_in": 0}),
        json!({"claims": {}}),
        json!({"audience": "b"}),
        json!({"audience": 7}),
        json!({"subject": "x", "claims": {"role": "r", "sub": "y"}}),
        json!({"claims": []}),
        json!({"nonsense": true}),
    ];
    for edit in edits {
        let mut body = good.clone();
        body.as_object_mut().unwrap().extend(edit.as_object().unwrap().clone());
        client.post("/v1/tokens", &body).refused(400, "invalid_request");
    }
    client.post("/v1/tokens", &json!({"key": "k", "format": "jwe"})).refused(400, "unsupported_operation");
    client.post("/v1/tokens", &json!({"key": "none"})).refused(404, "key_not_found");
    client.post("/v1/tokens", &json!({"key": "~token-hash"})).refused(400, "invalid_request");
}

#[test]
fn the_verify_table() {
    let node = Node::start();
    let client = node.client();
    let code = |body: Value| verify(&client, body)["code"].as_str().unwrap_or("valid").to_owned();
    let token = |body: Value| issue(&client, body)["token"].clone();
    let good = token(json!({"expires_in": "1h"}));
    let text = good.as_str().unwrap();
    assert_eq!(code(json!({"token": good})), "valid");
    assert_eq!(code(json!({"token": good, "audience": "a"})), "claims_invalid");
    assert_eq!(code(json!({"token": good, "required_claims": ["role"]})), "claims_invalid");
    assert_eq!(code(json!({"token": good, "key": "default-signing"})), "valid");
    assert_eq!(code(json!({"token": good, "key": "stores"})), "key_not_found");
    let aimed = token(json!({"audience": "a"}));
    assert_eq!(code(json!({"token": aimed})), "claims_invalid");
    assert_eq!(code(json!({"token": aimed, "audience": "b"})), "claims_invalid");
    assert_eq!(
        code(json!({"token": token(json!({"claims": {"nbf": 4_000_000_000_u64}}))})),
        "claims_invalid"
    );
    for malformed in ["", "a.b", "a.b.c", "....", &"x".repeat(100_000), &text.replacen('.', ".=", 1)] {
        assert_eq!(code(json!({"token": malformed})), "token_malformed");
    }
    let with_header = |header: &str| {
        let (_, rest) = text.split_once('.').unwrap();
        json!({"token": format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header))})
    };
    let kid = issue(&client, json!({}))["kid"].as_str().unwrap().to_owned();
    assert_eq!(code(with_header(&format!(r#"{{"alg":"none","kid":"{kid}"}}"#))), "signature_invalid");
    assert_eq!(code(with_header(&format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#))), "signature_invalid");
    assert_eq!(
        code(with_header(&format!(r#"{{"alg":"ES256","kid":"{kid}","crit":["x"]}}"#))),
        "token_malformed"
    );
    assert_eq!(code(with_header(r#"{"alg":"ES256","kid":"nobody"}"#)), "key_not_found");
    assert_eq!(code(with_header(r#"{"alg":"ES256","kid":"../../x"}"#)), "key_not_found");
    assert_eq!(code(with_header(r#"{"alg":"ES256"}"#)), "token_malformed");
    let short = token(json!({"expires_in": "1s"}));
    super::keys::wait_until(|| code(json!({"token": short})) == "token_expired");
    client.post("/v1/tokens/verify", &json!({})).refused(400, "invalid_request");
}

#[test]
fn the_jwks_is_cached_shared_and_holds_no_symmetric_key() {
    let node = Node::start();
    let client = node.client().with_token(None);
    let admin = node.client();
    let answer = client.get("/.well-known/jwks.json");
    assert_eq!(answer.header("cache-control"), "public, max-age=300, must-revalidate");
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    let etag = answer.header("etag").to_owned();
    let keys = answer.expect(200)["keys"].as_array().unwrap().clone();
    assert_eq!(keys.len(), 2);
    assert!(keys.iter().all(|key| key["kty"] == "EC"
        && key["use"] == "sig"
        && key["alg"] == "ES256"
        && key.get("d").is_none()));
    let again = client.send("GET", "/.well-known/jwks.json", None, &[("If-None-Match", &etag)]);
    assert_eq!((again.status, again.text.as_str()), (304, ""));
    for key_type in ["hs256", "aes256-gcm", "fernet", "hmac-sha256"] {
        admin.post("/v1/keys", &json!({"name": key_type, "type": key_type})).expect(201);
    }
    assert_eq!(client.get("/.well-known/jwks.json").header("etag"), etag);
    admin.post("/v1/keys", &json!({"name": "rsa", "type": "rs256"})).expect(201);
    let keys = client.get("/.well-known/jwks.json").expect(200)["keys"].as_array().unwrap().clone();
    assert_eq!(keys.iter().filter(|key| key["kty"] == "RSA" && key["e"] == "AQAB").count(), 2);
    let metadata = client.get("/.well-known/openid-configuration").expect(200);
    assert_eq!(metadata["id_token_signing_alg_values_supported"], json!(["ES256", "RS256"]));
    assert!(metadata["jwks_uri"].as_str().unwrap().ends_with("/.well-known/jwks.json"));
}

#[test]
fn the_issuer_is_fixed_with_the_first_start() {
    let node = Node::with(&[("CLAVIGER_TOKENS__ISSUER", "https://issuer.example")]);
    let token = issue(&node.client(), json!({}))["token"].clone();
    let folder = node.into_folder();
    let other = [
        ("CLAVIGER_TOKENS__ISSUER", "https://other.example"),
        ("CLAVIGER_SEAL__MASTER_KEY", claviger_tests::node::MASTER),
    ];
    let (code, log) = claviger_tests::node::refused_start(folder.path(), &other);
    assert!(code != Some(0) && log.contains("tokens.issuer"), "{log}");
    let node = Node::within(folder, &[]);
    assert_eq!(verify(&node.client(), json!({"token": token}))["valid"], true);
}
