//! `claviger tokens`.

use claviger_tests::Node;
use serde_json::json;

use super::on;

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
