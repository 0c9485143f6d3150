//! Revocation and introspection on one node.

use std::time::Duration;

use claviger_actors::clock::{Clock as _, SystemClock};
use claviger_tests::{Client, Node, process};
use sea_orm::{ConnectionTrait as _, Statement};
use serde_json::{Value, json};

use super::{
    issue,
    pairs::{code, pair, refresh},
    verify,
};
use crate::{
    access::{api_key, put_policy},
    tampered,
};

const LONG: Duration = Duration::from_secs(60);

pub(super) fn revoke(client: &Client, body: Value) -> Value {
    client.post("/v1/tokens/revoke", &body).expect(200)
}

/// A token as another system signs it.
pub(super) fn signed(kid: &str, secret: &str, claims: Value) -> Value {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed =
        format!("{}.{}", encode(&json!({"alg": "HS256", "kid": kid, "typ": "JWT"})), encode(&claims));
    let mac = claviger_crypto::digest::hmac_sha256(secret.as_bytes(), &[signed.as_bytes()]);
    json!(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac)))
}

fn introspect(client: &Client, token: &Value) -> Value {
    client.post("/v1/tokens/introspect", &json!({"token": token})).expect(200)
}

#[test]
fn each_way_of_revoking() {
    let node = Node::start();
    let client = node.client();
    let [by_token, by_jti, by_family, by_refresh, other] =
        std::array::from_fn(|_| pair(&client, json!({"subject": "bob"})));
    let family = verify(&client, json!({"token": by_family["token"]}))["claims"]["fid"].clone();
    for body in [
        json!({"token": by_token["token"]}),
        json!({"jti": by_jti["jti"]}),
        json!({"family": family}),
        json!({"token": by_refresh["refresh_token"], "token_type_hint": "refresh_token"}),
    ] {
        assert_eq!(revoke(&client, body.clone()), json!({"revoked": true, "before": null}), "{body}");
        // Again is no error.
        assert_eq!(revoke(&client, body)["revoked"], true);
    }
    for revoked in [&by_token, &by_jti, &by_family, &by_refresh] {
        assert_eq!(code(&client, revoked), "token_revoked");
        assert_eq!(introspect(&client, &revoked["token"]), json!({"active": false}));
    }
    assert_eq!(code(&client, &other), "valid");
    // An access token goes alone, a family with all that it has.
    refresh(&client, &by_token).expect(200);
    refresh(&client, &by_jti).expect(200);
    refresh(&client, &by_family).refused(401, "token_revoked");
    refresh(&client, &by_refresh).refused(401, "token_revoked");
    assert_eq!(introspect(&client, &by_family["refresh_token"]), json!({"active": false}));
}

/// RFC 7009 §2.2: what is not known, not valid or over is no error.
#[test]
fn what_is_no_token_is_no_error() {
    let node = Node::start();
    let client = node.client();
    let good = issue(&client, json!({}))["token"].as_str().unwrap().to_owned();
    let short = issue(&client, json!({"expires_in": "1s"}))["token"].clone();
    super::super::keys::wait_until(|| verify(&client, json!({"token": short}))["code"] == "token_expired");
    let unknown = format!("clvr_{}_{}", uuid::Uuid::now_v7().simple(), "x".repeat(43));
    for token in ["", "x", "a.b.c", &good[..good.len() - 2], &unknown, short.as_str().unwrap()] {
        assert_eq!(revoke(&client, json!({"token": token})), json!({"revoked": false, "before": null}));
        assert_eq!(introspect(&client, &json!(token)), json!({"active": false}));
    }
    assert_eq!(revoke(&client, json!({"family": uuid::Uuid::now_v7()}))["revoked"], false);
    for bad in [
        json!({}),
        json!({"token": good, "jti": "x"}),
        json!({"token": good, "key": "default-signing"}),
        json!({"family": "x"}),
        json!({"subject": ""}),
        json!({"jti": "x".repeat(1_025)}),
        json!({"jti": 7}),
        json!({"token": good, "nonsense": 1}),
    ] {
        client.post("/v1/tokens/revoke", &bad).refused(400, "invalid_request");
    }
    client.post("/v1/tokens/revoke", &json!({"jti": "x", "key": "none"})).refused(404, "key_not_found");
    client.post("/v1/tokens/revoke", &json!({"kid": "none"})).refused(404, "key_not_found");
    client.post("/v1/tokens/introspect", &json!({})).refused(400, "invalid_request");
    assert_eq!(code(&client, &json!({"token": good})), "valid");
}

/// The forms of RFC 7009 and RFC 7662, as their clients send them.
#[test]
fn forms_are_as_good_as_json() {
    let node = Node::start();
    let client = node.client();
    let made = pair(&client, json!({"subject": "carol", "audience": ["a", "b"]}));
    let form = |path: &str, body: String, kind: &str| {
        client.send("POST", path, Some(body.into_bytes()), &[("Content-Type", kind)])
    };
    let text = |member: &str| made[member].as_str().unwrap().to_owned();
    for kind in ["application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=UTF-8"] {
        let body = format!("token={}&token_type_hint=access_token", text("token"));
        let known = form("/v1/tokens/introspect", body, kind).expect(200);
        assert_eq!(
            (&known["active"], &known["sub"], &known["jti"]),
            (&json!(true), &json!("carol"), &made["jti"])
        );
        assert_eq!((&known["aud"], &known["token_type"]), (&json!(["a", "b"]), &json!("Bearer")));
        let known =
            form("/v1/tokens/introspect", format!("token={}", text("refresh_token")), kind).expect(200);
        assert_eq!((&known["active"], &known["token_type"]), (&json!(true), &json!("refresh_token")));
        assert_eq!(known["sub"], "carol");
    }
    let kind = "application/x-www-form-urlencoded";
    // What curl calls a form although it is none.
    let body = json!({"token": made["token"]}).to_string();
    assert_eq!(form("/v1/tokens/introspect", body, kind).expect(200)["active"], true);
    for bad in ["", "token=a&token=b", "x=1"] {
        form("/v1/tokens/introspect", bad.to_owned(), kind).refused(400, "invalid_request");
    }
    let answer = form("/v1/tokens/revoke", format!("token={}", text("refresh_token")), kind).expect(200);
    assert_eq!(answer["revoked"], true);
    let verdict = verify(&client, json!({"token": made["token"], "audience": "b"}));
    assert_eq!(verdict["code"], "token_revoked");
}

/// "All before now" concerns what was issued before, and sessions of then, and nothing that comes after.
#[test]
fn a_cut_off_spares_what_comes_after() {
    let node = Node::start();
    let client = node.client();
    client.post("/v1/keys", &json!({"name": "k", "type": "es256"})).expect(201);
    for round in 0..20 {
        let subject = format!("dave {round}");
        let alice = |body: &Value| {
            let mut body = body.clone();
            body["subject"] = json!(subject);
            pair(&client, body)
        };
        let (before, elsewhere) = (alice(&json!({})), alice(&json!({"key": "k"})));
        let stranger = pair(&client, json!({"subject": "somebody else"}));
        let refreshed = refresh(&client, &before).expect(200);
        let answer = revoke(&client, json!({"subject": subject}));
        assert!(answer["revoked"] == true && answer["before"].is_string(), "{answer}");
        let after = alice(&json!({}));
        for dead in [&before, &elsewhere, &refreshed] {
            assert_eq!(code(&client, dead), "token_revoked", "round {round}");
        }
        refresh(&client, &refreshed).refused(401, "token_revoked");
        refresh(&client, &elsewhere).refused(401, "token_revoked");
        assert_eq!(code(&client, &after), "valid", "round {round}");
        assert_eq!(code(&client, &stranger), "valid");
        assert_eq!(code(&client, &refresh(&client, &after).expect(200)), "valid");
    }
    // Of one key only, and of one version.
    let of = |key: &str| pair(&client, json!({"key": key, "subject": "erin"}));
    let (default, k) = (of("default-signing"), of("k"));
    revoke(&client, json!({"subject": "erin", "key": "k"}));
    assert_eq!((code(&client, &default).as_str(), code(&client, &k).as_str()), ("valid", "token_revoked"));
    let kid = of("k")["kid"].clone();
    let before = of("k");
    revoke(&client, json!({"kid": kid}));
    assert_eq!(code(&client, &before), "token_revoked");
    assert_eq!(code(&client, &of("k")), "valid");
    assert_eq!(code(&client, &default), "valid");
}

/// What names a key needs the right to that key; what may concern any needs the right to all.
#[test]
fn revoking_needs_the_right_to_the_key() {
    let node = Node::start();
    let admin = node.client();
    for key in ["mine", "theirs"] {
        admin.post("/v1/keys", &json!({"name": key, "type": "es256"})).expect(201);
    }
    let text = "permit (principal in Claviger::Role::\"shop\", action in [Claviger::Action::\"token.issue\", \
                Claviger::Action::\"token.revoke\", Claviger::Action::\"token.introspect\"], \
                resource == Claviger::Key::\"mine\");";
    put_policy(&admin, "shop", text);
    let (_, shop) = api_key(&admin, &["shop"]);
    let mine = pair(&shop, json!({"key": "mine", "subject": "s"}));
    let theirs = pair(&admin, json!({"key": "theirs", "subject": "s"}));
    for (token, active) in
        [(&mine["token"], true), (&theirs["token"], false), (&theirs["refresh_token"], false)]
    {
        assert_eq!(introspect(&shop, token)["active"], active);
    }
    // Those of a key that they may not see are not there.
    for body in [json!({"token": theirs["token"]}), json!({"token": theirs["refresh_token"]})] {
        assert_eq!(revoke(&shop, body)["revoked"], false);
    }
    shop.post("/v1/tokens/revoke", &json!({"subject": "s", "key": "theirs"})).refused(404, "key_not_found");
    for body in [json!({"subject": "s"}), json!({"jti": theirs["jti"]})] {
        shop.post("/v1/tokens/revoke", &body).refused(403, "forbidden");
    }
    revoke(&shop, json!({"jti": theirs["jti"], "key": "mine"}));
    assert_eq!(code(&admin, &theirs), "valid");
    revoke(&shop, json!({"subject": "s", "key": "mine"}));
    assert_eq!((code(&admin, &mine).as_str(), code(&admin, &theirs).as_str()), ("token_revoked", "valid"));
    // One who sees the key and may not revoke is told so.
    let (_, verifier) = api_key(&admin, &["verifier"]);
    verifier.post("/v1/tokens/revoke", &json!({"token": theirs["token"]})).refused(403, "forbidden");
    let (_, operator) = api_key(&admin, &["operator"]);
    revoke(&operator, json!({"jti": theirs["jti"]}));
    assert_eq!(code(&admin, &theirs), "token_revoked");
}

/// Tokens of elsewhere, which have no `jti`, or one that somebody else has too.
#[test]
fn imported_tokens_are_revoked_one_by_one() {
    let node = Node::start();
    let client = node.client();
    let secret = "a shared secret of at least thirty-two bytes";
    for name in ["old", "older"] {
        let body =
            json!({"name": name, "type": "hs256", "kid": name, "legacy_secret": format!("{name} {secret}")});
        client.post("/v1/keys/import", &body).expect(201);
    }
    let token = |kid: &str, claims: Value| signed(kid, &format!("{kid} {secret}"), claims);
    let exp = SystemClock.now().timestamp() + 3_600;
    let (one, two) =
        (token("old", json!({"exp": exp, "sub": "1"})), token("old", json!({"exp": exp, "sub": "2"})));
    let named = |kid: &str| token(kid, json!({"exp": exp, "jti": "7"}));
    let is = |token: &Value| code(&client, &json!({"token": token}));
    for token in [&one, &two, &named("old"), &named("older")] {
        assert_eq!(is(token), "valid");
    }
    revoke(&client, json!({"token": one}));
    revoke(&client, json!({"token": named("old")}));
    assert_eq!((is(&one).as_str(), is(&two).as_str()), ("token_revoked", "valid"));
    // Whoever signs elsewhere chooses their ids: nobody else's token goes with one of theirs.
    assert_eq!((is(&named("old")).as_str(), is(&named("older")).as_str()), ("token_revoked", "valid"));
    revoke(&client, json!({"jti": "7"}));
    assert_eq!(is(&named("older")), "token_revoked");
    // One that goes by the name which the system of before gave the key.
    let legacy = "another shared secret, longer than thirty-two bytes";
    client
        .post("/v1/keys/import", &json!({"name": "oldest", "type": "hs256", "legacy_secret": legacy}))
        .expect(201);
    let kid = claviger_crypto::base62::encode(&claviger_crypto::digest::sha256(legacy.as_bytes()));
    let aliased = signed(&kid, legacy, json!({"exp": exp}));
    assert_eq!(is(&aliased), "valid");
    assert_eq!(introspect(&client, &aliased)["active"], true);
    assert_eq!(revoke(&client, json!({"token": aliased}))["revoked"], true);
    assert_eq!(is(&aliased), "token_revoked");
    assert_eq!(introspect(&client, &aliased), json!({"active": false}));
}

/// P4: a restart forgets no revocation, and a revoked token under a version that was suspended does not come back with it.
#[test]
fn p4_a_restart_forgets_no_revocation() {
    let mut node = Node::start();
    let client = node.client();
    let made: Vec<Value> = (0..4).map(|_| pair(&client, json!({"subject": "frank"}))).collect();
    revoke(&client, json!({"token": made[0]["token"]}));
    revoke(&client, json!({"token": made[1]["refresh_token"]}));
    let reason = json!({"reason": "drill"});
    client.post("/v1/keys", &json!({"name": "k", "type": "es256"})).expect(201);
    let suspended = issue(&client, json!({"key": "k"}));
    client.post("/v1/keys/k/versions/1/suspend", &reason).expect(200);
    assert_eq!(revoke(&client, json!({"token": suspended["token"]}))["revoked"], true);
    client.post("/v1/keys/k/versions/1/resume", &reason).expect(200);
    for _ in 0..2 {
        let client = node.client();
        for (index, expected) in ["token_revoked", "token_revoked", "valid", "valid"].iter().enumerate() {
            assert_eq!(&code(&client, &made[index]), expected, "{index}");
        }
        assert_eq!(code(&client, &suspended), "token_revoked");
        refresh(&client, &made[1]).refused(401, "token_revoked");
        node.restart();
    }
    // A row that was edited is named, and the others are in force.
    let folder = node.into_folder();
    let path = folder.path().join("data/claviger.db");
    tampered::run(async {
        let connection = tampered::open(&path).await;
        let edit = "UPDATE revocations SET expires_at = expires_at + 1 WHERE kind = 'family'";
        connection.execute_unprepared(edit).await.unwrap();
        connection.close().await.unwrap();
    });
    let node = Node::within(folder, &[]);
    assert_eq!(code(&node.client(), &made[0]), "token_revoked");
    assert!(node.log().contains("a revocation was damaged"), "{}", node.log());
    let metrics = node.client().get("/metrics").text;
    assert!(metrics.contains("claviger_revocations_damaged_total 1"), "{metrics}");
}

/// A revocation by id alone lasts for as long as any token of before may live, though the rules have changed since.
#[test]
fn a_revocation_by_id_outlives_what_the_rules_once_allowed() {
    let node = Node::start();
    let client = node.client();
    let until = || {
        tampered::run(async {
            let connection = tampered::open(&node.database()).await;
            let sql = "SELECT max(expires_at) / 1000 AS n FROM revocations".to_owned();
            let statement = Statement::from_string(connection.get_database_backend(), sql);
            let row = connection.query_one_raw(statement).await.unwrap().unwrap();
            connection.close().await.unwrap();
            row.try_get::<i64>("", "n").unwrap()
        })
    };
    let now = SystemClock.now().timestamp();
    let day = 86_400;
    revoke(&client, json!({"jti": "a"}));
    assert!((now + day..now + day + 900).contains(&until()), "{}", until() - now);
    client.post("/v1/keys", &json!({"name": "k", "type": "es256", "claims": {"max_ttl": "30d"}})).expect(201);
    client.patch("/v1/keys/k", &json!({"claims": {"max_ttl": "1h"}})).expect(200);
    client.patch("/v1/keys/k", &json!({"claims": {"max_ttl": "2h"}})).expect(200);
    revoke(&client, json!({"jti": "b"}));
    assert!((now + 30 * day..now + 30 * day + 900).contains(&until()), "{}", until() - now);
    client.patch("/v1/keys/k", &json!({"claims": {"allow_missing_exp": true}})).expect(200);
    revoke(&client, json!({"jti": "c"}));
    assert!(until() > now + 1_000 * 366 * day);
}

/// Issuers that a key accepts beside the service itself, as its claims say.
#[test]
fn issuers_are_those_that_the_key_allows() {
    let node = Node::start();
    let client = node.client();
    let secret = "a shared secret of at least thirty-two bytes";
    let rules = json!({"issuers": ["https://old.example"]});
    let body =
        json!({"name": "old", "type": "hs256", "kid": "old", "legacy_secret": secret, "claims": rules});
    client.post("/v1/keys/import", &body).expect(201);
    let verdict = |issuer: &str| {
        let claims = json!({"iss": issuer, "exp": SystemClock.now().timestamp() + 60});
        code(&client, &json!({"token": signed("old", secret, claims)}))
    };
    let own = client.get("/.well-known/openid-configuration").expect(200)["issuer"].clone();
    for (issuer, expected) in [
        ("https://old.example", "valid"),
        (own.as_str().unwrap(), "valid"),
        ("https://evil.example", "claims_invalid"),
        ("https://old.example/", "claims_invalid"),
    ] {
        assert_eq!(verdict(issuer), expected, "{issuer}");
    }
}

/// What has expired is removed, from memory and from the database.
#[test]
fn expired_revocations_disappear() {
    let node = Node::with(&[("CLAVIGER_TOKENS__REFRESH_TTL", "1s")]);
    let client = node.client();
    let live = || {
        let text = client.get("/metrics").text;
        let line =
            text.lines().find(|line| line.starts_with("claviger_revocations_live ")).unwrap().to_owned();
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    for _ in 0..5 {
        let short = issue(&client, json!({"expires_in": "1s"}));
        assert_eq!(revoke(&client, json!({"token": short["token"]}))["revoked"], true);
    }
    pair(&client, json!({"expires_in": "1s"}));
    let long = issue(&client, json!({}));
    revoke(&client, json!({"token": long["token"]}));
    assert_eq!(live(), 6);
    process::until(LONG, || (live() == 1).then_some(())).expect("memory is given back");
    let rows = |table: &str| {
        tampered::run(async {
            let connection = tampered::open(&node.database()).await;
            let sql = format!("SELECT count(*) AS n FROM {table}");
            let statement = Statement::from_string(connection.get_database_backend(), sql);
            let row = connection.query_one_raw(statement).await.unwrap().unwrap();
            connection.close().await.unwrap();
            row.try_get::<i64>("", "n").unwrap()
        })
    };
    process::until(LONG, || (rows("revocations") == 1 && rows("refresh_tokens") == 0).then_some(()))
        .expect("rows go");
    assert_eq!(code(&client, &long), "token_revoked");
}

/// The refresh token is over, the access token that came with it is not.
#[test]
fn p4_a_family_can_be_revoked_for_as_long_as_anything_of_it_lives() {
    let node = Node::with(&[("CLAVIGER_TOKENS__REFRESH_TTL", "1s")]);
    let client = node.client();
    let [by_family, by_refresh] = std::array::from_fn(|_| pair(&client, json!({"subject": "bob"})));
    let family = verify(&client, json!({"token": by_family["token"]}))["claims"]["fid"].clone();
    // Rows of which nothing is left are swept when something has expired.
    let short = issue(&client, json!({"expires_in": "1s"}));
    revoke(&client, json!({"token": short["token"]}));
    let expired = || introspect(&client, &by_refresh["refresh_token"])["active"] == false;
    process::until(LONG, || expired().then_some(())).expect("it ends");
    let live = || client.get("/metrics").text.contains("claviger_revocations_live 0\n");
    process::until(LONG, || live().then_some(())).expect("the sweep has been there");
    for (body, revoked) in [
        (json!({"family": family}), &by_family),
        (json!({"token": by_refresh["refresh_token"]}), &by_refresh),
    ] {
        assert_eq!(revoke(&client, body.clone())["revoked"], true, "{body}");
        assert_eq!(code(&client, revoked), "token_revoked");
    }
}

/// Each look at a token of a temporary key is one of its uses, so introspection gives none away.
#[test]
fn a_temporary_key_is_not_read_by_introspection() {
    let node = Node::start();
    let client = node.client();
    let key = json!({"name": "once", "type": "aes256-gcm", "usage": "token", "temporary": {"uses": 1}});
    client.post("/v1/keys", &key).expect(201);
    let token = issue(&client, json!({"key": "once", "subject": "bob"}))["token"].clone();
    let answer = client.post("/v1/tokens/introspect", &json!({"token": token})).expect(400);
    assert_eq!(answer["code"], "unsupported_operation");
    assert_eq!(verify(&client, json!({"token": token}))["valid"], true);
    assert_eq!(verify(&client, json!({"token": token}))["valid"], false);
}
