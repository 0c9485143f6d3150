//! `claviger tokens`.

use claviger_tests::Node;
use serde_json::json;

use super::on;

/// Why a token is refused, in words, by whoever has it in hand.
#[test]
fn a_token_is_inspected() {
    let node = Node::start();
    let issued = on(&node, "tokens issue --subject alice --audience shop", b"");
    let fine = on(&node, "tokens inspect --audience shop", &issued.output).json();
    assert_eq!((&fine["verdict"]["valid"], &fine["claims"]["sub"]), (&json!(true), &json!("alice")));
    let found = &fine["version"];
    assert_eq!((&found["key"], &found["state"]), (&json!("default-signing"), &json!("active")));
    let elsewhere = on(&node, "tokens inspect --audience bank", &issued.output);
    assert_eq!(elsewhere.code, Some(1));
    assert!(elsewhere.text().contains("aud"), "{}", elsewhere.text());
    node.client()
        .post("/v1/keys/default-signing/versions/1/compromise", &json!({"reason": "drill"}))
        .expect(200);
    let leaked = on(&node, "tokens inspect", &issued.output);
    assert_eq!(leaked.code, Some(1));
    assert!(leaked.text().contains("the version that made it, of default-signing, is compromised"));
    let nothing = on(&node, "tokens inspect", b"nonsense");
    assert!(nothing.code == Some(1) && nothing.text().contains("three segments"), "{}", nothing.text());
}

#[test]
fn tokens_are_issued_and_verified() {
    let node = Node::start();
    let line = "tokens issue --subject alice --audience shop --audience bank --expires-in 10m --claims {\"role\":\"buyer\"}";
    let issued = on(&node, line, b"");
    assert_eq!(issued.code, Some(0), "{}", issued.error);
    let verdict = on(
        &node,
        "tokens verify --audience shop --required-claim role --key default-signing",
        &issued.output,
    );
    let claims = verdict.json()["claims"].clone();
    assert_eq!((&claims["sub"], &claims["aud"]), (&json!("alice"), &json!(["shop", "bank"])));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);
    let token = issued.json()["token"].as_str().unwrap().to_owned();
    on(&node, "tokens verify --audience bank", format!("{token}\n").as_bytes()).json();
    for (line, input) in [
        ("tokens verify --audience other", token.as_str()),
        ("tokens verify --required-claim absent", &token),
        ("tokens verify --key default-encryption", &token),
        ("tokens verify", &token[1..]),
    ] {
        let invalid = on(&node, line, input.as_bytes());
        assert_eq!((invalid.code, invalid.error.as_str()), (Some(1), ""), "{line}");
        assert!(invalid.text().contains("\"valid\": false"), "{}", invalid.text());
    }
    let sealed = on(&node, "tokens issue --format jwe --key default-encryption", b"").json();
    assert_eq!(sealed["token"].as_str().unwrap().split('.').count(), 5);
    on(&node, "tokens issue --key absent", b"").refused("key_not_found: ");
    on(&node, "tokens verify", b"").refused("the input must be a token");
}

#[test]
fn pairs_are_refreshed_asked_about_and_revoked() {
    let node = Node::start();
    let issued = on(&node, "tokens issue --subject alice --refresh", b"");
    assert_eq!(issued.code, Some(0), "{}", issued.error);
    let refreshed = on(&node, "tokens refresh --idempotency-key once", &issued.output);
    let again = on(&node, "tokens refresh --idempotency-key once", &issued.output).json();
    assert_eq!(refreshed.code, Some(0), "{}", refreshed.error);
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&refreshed.output).unwrap(), again);
    let known = on(&node, "tokens introspect", &refreshed.output).json();
    assert_eq!((&known["active"], &known["sub"]), (&json!(true), &json!("alice")));
    let family = known["fid"].as_str().unwrap();
    let refresh_token = again["refresh_token"].as_str().unwrap();
    assert_eq!(
        on(&node, "tokens introspect", refresh_token.as_bytes()).json()["token_type"],
        "refresh_token"
    );
    assert_eq!(on(&node, "tokens revoke", &refreshed.output).json()["revoked"], true);
    let inactive = on(&node, "tokens introspect", &refreshed.output);
    assert_eq!((inactive.code, inactive.error.as_str()), (Some(1), ""));
    assert!(inactive.text().contains("\"active\": false"), "{}", inactive.text());
    let next = on(&node, "tokens refresh", refresh_token.as_bytes());
    assert_eq!(next.code, Some(0), "{}", next.error);
    on(&node, "tokens refresh", refresh_token.as_bytes()).refused("token_reused: ");
    on(&node, "tokens refresh", &next.output).refused("token_revoked: ");
    assert_eq!(on(&node, &format!("tokens revoke --family {family}"), b"").json()["revoked"], true);
    let other = on(&node, "tokens issue --subject bob --refresh", b"").output;
    assert_eq!(on(&node, "tokens revoke --refresh", &other).json()["revoked"], true);
    on(&node, "tokens refresh", &other).refused("token_revoked: ");
    let jti = on(&node, "tokens issue", b"").json()["jti"].as_str().unwrap().to_owned();
    for line in ["--subject bob", "--subject bob --key default-signing", &format!("--jti {jti}")] {
        assert_eq!(on(&node, &format!("tokens revoke {line}"), b"").json()["revoked"], true, "{line}");
    }
    on(&node, "tokens refresh", b"").refused("the input must be a refresh_token");
}
