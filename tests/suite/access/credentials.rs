//! Credentials: which are one, which are none any more, and what nobody can make of theirs.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use claviger_tests::{Client, Node};
use serde_json::{Value, json};

use super::{api_key, put_policy};

fn is_nobody(client: &Client) {
    for (method, path) in
        [("GET", "/v1/keys"), ("POST", "/v1/random"), ("GET", "/v1/keys/none"), ("PUT", "/v1/policies/p")]
    {
        let answer = client.send(method, path, Some(b"{}".to_vec()), &[]);
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{method} {path}");
        answer.refused(401, "unauthorized");
    }
}

#[test]
fn p8_anonymous_expired_deleted_and_misspelt_credentials_are_nobody() {
    let node = Node::start();
    let admin = node.client();
    let soon =
        chrono::DateTime::parse_from_rfc3339(admin.get("/health").expect(200)["timestamp"].as_str().unwrap());
    let soon = (soon.unwrap() + chrono::TimeDelta::milliseconds(900)).to_rfc3339();
    let body = json!({"name": "brief", "roles": ["admin"], "expires_at": soon});
    let made = admin.post("/v1/api-keys", &body).expect(201);
    let brief = admin.with_token(made["secret"].as_str());
    brief.get("/v1/keys").expect(200);

    let made = admin.post("/v1/api-keys", &json!({"name": "ci", "roles": ["admin"]})).expect(201);
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with(&format!("clv_{}_", made["id"].as_str().unwrap())), "{secret}");
    admin.with_token(Some(secret)).get("/v1/keys").expect(200);
    for wrong in [
        secret.to_uppercase(),
        secret.to_lowercase(),
        secret.replacen("clv_", "CLV_", 1),
        secret[..secret.len() - 1].to_owned(),
        format!("{secret}0"),
        secret.split('_').next_back().unwrap().to_owned(),
        made["id"].as_str().unwrap().to_owned(),
        format!("{secret}\u{20}x"),
    ] {
        is_nobody(&admin.with_token(Some(&wrong)));
    }
    is_nobody(&admin.with_token(None));
    let id = made["id"].as_str().unwrap();
    assert_eq!(admin.delete(&format!("/v1/api-keys/{id}")).status, 204);
    is_nobody(&admin.with_token(Some(secret)));
    admin.get(&format!("/v1/api-keys/{id}")).refused(404, "not_found");
    admin.delete(&format!("/v1/api-keys/{id}")).refused(404, "not_found");

    // The clock decides, so this waits for it to have passed.
    while brief.get("/v1/keys").status == 200 {}
    is_nobody(&brief);
}

#[test]
fn secrets_are_replaced_at_once_or_after_an_overlap_and_shown_once() {
    let mut node = Node::start();
    let admin = node.client();
    let made = admin.post("/v1/api-keys", &json!({"name": "app", "roles": ["verifier"]})).expect(201);
    let (id, first) = (made["id"].as_str().unwrap(), admin.with_token(made["secret"].as_str()));
    let rotate = |body: Value| admin.post(&format!("/v1/api-keys/{id}/rotate"), &body).expect(200);
    let rotated = rotate(json!({"overlap": "1h"}));
    assert!(rotated["previous_secret_until"].is_string());
    let second = admin.with_token(rotated["secret"].as_str());
    first.get("/v1/keys").expect(200);
    second.get("/v1/keys").expect(200);
    let third = admin.with_token(rotate(json!({}))["secret"].as_str());
    is_nobody(&first);
    is_nobody(&second);
    third.get("/v1/keys").expect(200);
    admin
        .post(&format!("/v1/api-keys/{id}/rotate"), &json!({"overlap": "31d"}))
        .refused(400, "invalid_request");

    let shown = admin.get(&format!("/v1/api-keys/{id}")).expect(200);
    assert!(shown["last_used_at"].is_string() && shown.get("secret").is_none(), "{shown}");
    let listed = admin.get("/v1/api-keys").text;
    assert!(listed.contains(id) && !listed.contains("secret\":"), "{listed}");
    drop((admin, first, second, third.clone()));
    assert_eq!(node.terminate().code(), Some(0));
    node.restart();
    let admin = node.client();
    assert!(
        admin.get(&format!("/v1/api-keys/{id}")).expect(200)["last_used_at"].is_string(),
        "the last use is kept"
    );
}

#[test]
fn a_retry_gets_the_same_secret_also_after_a_crash() {
    let mut node = Node::start();
    let make = |client: &Client| {
        let body = json!({"name": "app", "roles": []}).to_string().into_bytes();
        client.send("POST", "/v1/api-keys", Some(body), &[("Idempotency-Key", "one")]).expect(201)
    };
    let first = make(&node.client());
    node.restart();
    let admin = node.client();
    assert_eq!(make(&admin)["secret"], first["secret"]);
    assert_eq!(admin.get("/v1/api-keys").expect(200)["items"].as_array().unwrap().len(), 2);
}

#[test]
fn the_last_administrator_stays_and_can_be_replaced() {
    let node = Node::start();
    let admin = node.client();
    let listed = admin.get("/v1/api-keys").expect(200);
    let bootstrap = format!("/v1/api-keys/{}", listed["items"][0]["id"].as_str().unwrap());
    admin.delete(&bootstrap).refused(409, "key_state_conflict");
    let (_, other) = api_key(&admin, &["admin"]);
    assert_eq!(other.delete(&bootstrap).status, 204);
    is_nobody(&admin);
    other.get("/v1/keys").expect(200);
}

/// Nobody gives what they do not hold: neither by a new API key nor by taking over an old one.
#[test]
fn roles_can_not_be_given_by_whoever_lacks_them() {
    let node = Node::start();
    let admin = node.client();
    put_policy(
        &admin,
        "key-makers",
        "permit (principal in Claviger::Role::\"maker\", action in [Claviger::Action::\"api_key.create\",
           Claviger::Action::\"api_key.rotate\", Claviger::Action::\"api_key.read\"], resource);",
    );
    let (own, maker) = api_key(&admin, &["maker", "signer"]);
    let (admins, _) = api_key(&admin, &["admin"]);
    let (signers, _) = api_key(&admin, &["signer"]);
    for roles in [json!(["admin"]), json!(["signer", "operator"]), json!(["other"])] {
        maker.post("/v1/api-keys", &json!({"name": "n", "roles": roles})).refused(403, "forbidden");
    }
    maker.post("/v1/api-keys", &json!({"name": "n", "roles": ["signer"]})).expect(201);
    maker.post(&format!("/v1/api-keys/{admins}/rotate"), &json!({})).refused(403, "forbidden");
    maker.post(&format!("/v1/api-keys/{signers}/rotate"), &json!({})).expect(200);
    maker.post(&format!("/v1/api-keys/{own}/rotate"), &json!({})).expect(200);
}

/// P8: a signer holds the right to sign, and whatever it signs, it is no more than a signer.
#[test]
fn p8_a_signer_can_not_mint_its_way_to_administrator() {
    let node = Node::start();
    let admin = node.client();
    admin.post("/v1/keys", &json!({"name": "raw", "type": "es256", "usage": "sign"})).expect(201);
    put_policy(
        &admin,
        "jobs",
        "permit (principal is Claviger::Subject, action, resource) when { principal.subject == \"job\" };",
    );
    let (_, signer) = api_key(&admin, &["signer"]);
    let try_token = |token: &str| {
        let client = admin.with_token(Some(token));
        client.get("/v1/api-keys").refused(401, "unauthorized");
        client.post("/v1/api-keys", &json!({"name": "x", "roles": ["admin"]})).refused(401, "unauthorized");
    };
    // The audience of credentials is refused to a signer, however it is written.
    for body in [
        json!({"audience": "claviger", "subject": "job"}),
        json!({"audience": ["shop", "claviger"], "subject": "job"}),
        json!({"claims": {"aud": "claviger", "sub": "job"}}),
        json!({"claims": {"aud": ["claviger"]}, "subject": "job"}),
        json!({"audience": "claviger", "subject": "job", "format": "jwe"}),
    ] {
        signer.post("/v1/tokens", &body).refused(403, "forbidden");
    }
    // Other tokens are for applications; roles and scopes in them are words.
    for body in [
        json!({"subject": "job", "audience": "shop"}),
        json!({"subject": "job", "audience": "Claviger"}),
        json!({"subject": "job", "audience": "claviger "}),
        json!({"subject": "job", "claims": {"roles": ["admin"], "role": "admin", "scope": "admin"}}),
        json!({"subject": "bootstrap-admin", "claims": {"azp": "claviger"}}),
    ] {
        let token = signer.post("/v1/tokens", &body).expect(201)["token"].clone();
        try_token(token.as_str().unwrap());
    }
    // A raw signature over a token's bytes carries no kid of a token key.
    let payload =
        json!({"iss": issuer(&admin), "sub": "job", "aud": "claviger", "iat": 1, "exp": 4_000_000_000_u64});
    let raw = admin.get("/v1/keys/raw").expect(200)["versions"][1]["kid"].clone();
    for kid in [raw, admin.get("/v1/keys/default-signing").expect(200)["versions"][1]["kid"].clone()] {
        let header = json!({"alg": "ES256", "kid": kid, "typ": "JWT"});
        let input = format!("{}.{}", segment(&header), segment(&payload));
        let body = json!({"input": base64::engine::general_purpose::STANDARD.encode(&input)});
        let signature = signer.post("/v1/keys/raw/sign", &body).expect(200)["signature"].clone();
        let signature =
            base64::engine::general_purpose::STANDARD.decode(signature.as_str().unwrap()).unwrap();
        try_token(&format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)));
    }
    for closed in ["/v1/api-keys", "/v1/policies"] {
        signer.get(closed).refused(403, "forbidden");
    }
    signer
        .send("PUT", "/v1/policies/mine", Some(b"permit (principal, action, resource);".to_vec()), &[])
        .refused(404, "not_found");
}

/// A key whose material somebody else has, or may get, makes no credentials.
#[test]
fn imported_and_exportable_keys_make_no_credentials() {
    let node = Node::start();
    let admin = node.client();
    put_policy(&admin, "jobs", "permit (principal is Claviger::Subject, action, resource);");
    let secret = "0123456789abcdefghijklmnopqrstuvwxyz-legacy";
    let import = json!({"name": "old", "type": "hs256", "legacy_secret": secret});
    admin.post("/v1/keys/import", &import).expect(201);
    admin.post("/v1/keys", &json!({"name": "leaving", "type": "es256", "exportable": true})).expect(201);
    for key in ["old", "leaving"] {
        let body = json!({"key": key, "audience": "claviger", "subject": "job"});
        let token = admin.post("/v1/tokens", &body).expect(201)["token"].clone();
        admin.with_token(token.as_str()).get("/v1/keys").refused(401, "unauthorized");
    }
    let good = admin.post("/v1/tokens", &json!({"audience": "claviger", "subject": "job"})).expect(201);
    admin.with_token(good["token"].as_str()).get("/v1/keys").expect(200);
}

#[test]
fn a_token_is_a_credential_only_with_audience_subject_and_time_and_only_as_policies_say() {
    let node = Node::start();
    let admin = node.client();
    let issue = |body: Value| {
        let token = admin.post("/v1/tokens", &body).expect(201)["token"].clone();
        admin.with_token(token.as_str())
    };
    let job = issue(json!({"audience": "claviger", "subject": "job"}));
    job.get("/v1/keys").refused(403, "forbidden");
    put_policy(
        &admin,
        "job",
        &format!(
            "permit (principal == Claviger::Subject::\"{}#job\", action == Claviger::Action::\"key.read\", resource);",
            issuer(&admin)
        ),
    );
    job.get("/v1/keys").expect(200);
    job.post("/v1/random", &json!({"bytes": 1})).refused(403, "forbidden");
    issue(json!({"audience": "claviger", "subject": "other"})).get("/v1/keys").refused(403, "forbidden");
    is_nobody(&issue(json!({"audience": "claviger"})));
    is_nobody(&issue(json!({"subject": "job"})));
    is_nobody(&issue(json!({"audience": "claviger", "subject": "job", "format": "jwe"})));
    let brief = issue(json!({"audience": "claviger", "subject": "job", "expires_in": "1s"}));
    while brief.get("/v1/keys").status == 200 {}
    brief.get("/v1/keys").refused(401, "token_expired");
    // Whoever stops the key stops its credentials.
    admin.post("/v1/keys/default-signing/versions/1/suspend", &json!({"reason": "drill"})).expect(200);
    is_nobody(&job);
}

fn issuer(client: &Client) -> String {
    client.get("/.well-known/openid-configuration").expect(200)["issuer"].as_str().unwrap().to_owned()
}

fn segment(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}
