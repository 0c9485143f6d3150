//! Revocations without end, by one caller; revocations that the database has lost; tokens that more than one key or none opens.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use claviger_actors::clock::{Clock as _, SystemClock};
use claviger_tests::{Answer, Client, Node};
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};

use super::{
    issue,
    pairs::{code, pair},
    revocation::{revoke, signed},
    verify,
};
use crate::{access::put_policy, tampered};

const MAX: (&str, &str) = ("CLAVIGER_TOKENS__MAX_REVOCATIONS", "1000");

/// An application that may issue and revoke with one key; its credential.
fn signer(admin: &Client, key: &str) -> String {
    admin.post("/v1/keys", &json!({"name": key, "type": "hs256"})).expect(201);
    let text = format!(
        "permit (principal in Claviger::Role::\"{key}\", action in [Claviger::Action::\"token.issue\", \
         Claviger::Action::\"token.revoke\"], resource == Claviger::Key::\"{key}\");"
    );
    put_policy(admin, key, &text);
    let made = admin.post("/v1/api-keys", &json!({"name": key, "roles": [key]})).expect(201);
    made["secret"].as_str().unwrap().to_owned()
}

fn try_revoke(client: &Client, body: &Value) -> Answer {
    client.post("/v1/tokens/revoke", body)
}

/// Revokes what nobody has, until it is refused; answers with how often it was not.
fn flood(client: &Client, key: &str) -> usize {
    for number in 0..1_100 {
        let member = if number % 2 == 0 { "jti" } else { "subject" };
        let answer = try_revoke(client, &json!({"key": key, member: format!("nobody-{number}")}));
        if answer.status != 200 {
            assert_eq!(answer.header("Retry-After"), "1", "{}", answer.text);
            let problem = answer.refused(503, "overloaded");
            assert!(problem["detail"].as_str().unwrap().contains("left to all other keys"), "{problem}");
            return number;
        }
    }
    panic!("a flood is never refused");
}

/// P10: whoever may revoke with one key can't use up what the others need, before and after a restart.
#[test]
fn p10_a_flood_of_revocations_of_one_key_leaves_room_to_the_others() {
    let mut node = Node::with(&[MAX]);
    let admin = node.client();
    let (greedy, other) = (signer(&admin, "greedy"), signer(&admin, "other"));
    assert_eq!(flood(&admin.with_token(Some(&greedy)), "greedy"), 500);
    for round in 0..2 {
        let admin = node.client();
        let [greedy, other] = [&greedy, &other].map(|token| admin.with_token(Some(token)));
        let theirs = issue(&greedy, json!({"key": "greedy"}));
        try_revoke(&greedy, &json!({"token": theirs["token"]})).refused(503, "overloaded");
        assert_eq!(code(&admin, &theirs), "valid");
        // What was revoked already is no further one.
        revoke(&greedy, json!({"key": "greedy", "jti": "nobody-0"}));
        // Everybody else goes on, by token, id and subject.
        let ours = issue(&other, json!({"key": "other", "subject": format!("s{round}")}));
        revoke(&other, json!({"token": ours["token"]}));
        revoke(&other, json!({"key": "other", "subject": format!("s{round}")}));
        assert_eq!(code(&admin, &ours), "token_revoked");
        // So do those who may revoke tokens of any key, and whoever revokes by version.
        revoke(&admin, json!({"jti": theirs["jti"]}));
        assert_eq!(code(&admin, &theirs), "token_revoked");
        revoke(&admin, json!({"subject": format!("any{round}")}));
        revoke(&greedy, json!({"kid": theirs["kid"]}));
        node.restart();
    }
    // The second takes a part of what the first has left.
    let other = node.client().with_token(Some(&other));
    assert!((200..=250).contains(&flood(&other, "other")));
    revoke(&node.client(), json!({"jti": "x"}));
}

/// A revocation that the database has lost and memory has kept is written again by whoever repeats it.
#[test]
fn p4_a_revocation_that_the_database_has_lost_is_written_again() {
    let mut node = Node::start();
    let client = node.client();
    let [lost, damaged, repeated] = std::array::from_fn(|_| pair(&client, json!({"subject": "grace"})));
    let sql = |sql: &str| {
        let (path, sql) = (node.database(), sql.to_owned());
        tampered::run(async move {
            let connection = tampered::open(&path).await;
            let done = connection.execute_unprepared(&sql).await.unwrap().rows_affected();
            connection.close().await.unwrap();
            done
        })
    };
    revoke(&client, json!({"token": lost["token"]}));
    assert_eq!(sql("DELETE FROM revocations"), 1);
    revoke(&client, json!({"token": damaged["token"]}));
    assert_eq!(sql("UPDATE revocations SET expires_at = expires_at + 1"), 1);
    revoke(&client, json!({"token": repeated["token"]}));
    for made in [&lost, &damaged, &repeated] {
        for _ in 0..2 {
            revoke(&client, json!({"token": made["token"]}));
        }
    }
    // One that it has is not written twice.
    assert_eq!(sql("UPDATE revocations SET kind = kind"), 4);
    node.restart();
    for made in [&lost, &damaged, &repeated] {
        assert_eq!(code(&node.client(), made), "token_revoked");
    }
}

/// A token is revoked whatever its version may do at the time: it may come back.
#[test]
fn p4_tokens_of_versions_that_are_out_of_use_are_revoked_for_when_they_come_back() {
    let node = Node::start();
    let client = node.client();
    let reason = json!({"reason": "drill"});
    // Below the minimum, which can be lowered again.
    client.post("/v1/keys", &json!({"name": "k", "type": "hs256"})).expect(201);
    let below = issue(&client, json!({"key": "k"}));
    client.post("/v1/keys/k/rotate", &json!({"force": true, "reason": "drill"})).expect(200);
    client.patch("/v1/keys/k", &json!({"min_decryption_version": 2})).expect(200);
    assert_eq!(code(&client, &below), "key_not_usable");
    revoke(&client, json!({"token": below["token"]}));
    client.patch("/v1/keys/k", &json!({"min_decryption_version": 1})).expect(200);
    assert_eq!(code(&client, &below), "token_revoked");

    // Suspended, by the name that the system of before gave it.
    let secret = "another shared secret, longer than thirty-two bytes";
    let body = json!({"name": "old", "type": "hs256", "legacy_secret": secret});
    client.post("/v1/keys/import", &body).expect(201);
    let exp = SystemClock.now().timestamp() + 3_600;
    let kid = claviger_crypto::base62::encode(&claviger_crypto::digest::sha256(secret.as_bytes()));
    let aliased = json!({"token": signed(&kid, secret, json!({"exp": exp, "jti": "a"}))});
    assert_eq!(code(&client, &aliased), "valid");
    client.post("/v1/keys/old/versions/1/suspend", &reason).expect(200);
    assert_eq!(revoke(&client, aliased.clone())["revoked"], true);
    client.post("/v1/keys/old/versions/1/resume", &reason).expect(200);
    assert_eq!(code(&client, &aliased), "token_revoked");
}

/// Suspended, and the token names no version at all.
#[test]
fn p4_a_token_without_kid_is_revoked_while_its_version_is_suspended() {
    let mut node = Node::start();
    let secret = "another shared secret, longer than thirty-two bytes";
    let body =
        json!({"name": "old", "type": "hs256", "legacy_secret": secret, "claims": {"kid_fallback": true}});
    node.client().post("/v1/keys/import", &body).expect(201);
    node.set("CLAVIGER_TOKENS__SIGNING_KEY", "old");
    node.restart();
    let client = node.client();
    let claims = json!({"exp": SystemClock.now().timestamp() + 3_600, "sub": "s"});
    let token = json!({"token": nameless(secret, &claims)});
    assert_eq!(code(&client, &token), "valid");
    let reason = json!({"reason": "drill"});
    client.post("/v1/keys/old/versions/1/suspend", &reason).expect(200);
    assert_eq!(revoke(&client, token.clone())["revoked"], true);
    client.post("/v1/keys/old/versions/1/resume", &reason).expect(200);
    assert_eq!(code(&client, &token), "token_revoked");
}

fn nameless(secret: &str, claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&json!({"alg": "HS256", "typ": "JWT"})), encode(claims));
    let mac = claviger_crypto::digest::hmac_sha256(secret.as_bytes(), &[signed.as_bytes()]);
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac))
}

/// Two keys may be imports of one secret: whoever verifies by the other one must hear the same.
#[test]
fn p4_a_revoked_token_is_revoked_by_every_key_that_opens_it() {
    let node = Node::start();
    let client = node.client();
    let secret = "a shared secret of at least thirty-two bytes";
    for name in ["one", "two"] {
        client
            .post(
                "/v1/keys/import",
                &json!({"name": name, "type": "hs256", "kid": name, "legacy_secret": secret}),
            )
            .expect(201);
    }
    let kid = claviger_crypto::base62::encode(&claviger_crypto::digest::sha256(secret.as_bytes()));
    let exp = SystemClock.now().timestamp() + 3_600;
    let token = signed(&kid, secret, json!({"exp": exp, "jti": "7"}));
    let by = |key: &str| verify(&client, json!({"token": token, "key": key}))["code"].clone();
    assert_eq!((by("one"), by("two")), (Value::Null, Value::Null));
    assert_eq!(revoke(&client, json!({"token": token}))["revoked"], true);
    assert_eq!((by("one"), by("two")), (json!("token_revoked"), json!("token_revoked")));
}
