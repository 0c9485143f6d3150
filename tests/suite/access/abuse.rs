//! What holders of rights try in order to keep them, or to have more.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use claviger_crypto::{jws, material::Material, prepared::PreparedKey, secret::SecretBytes};
use claviger_entity::KeyType;
use claviger_tests::{Client, Node};
use serde_json::{Value, json};

use super::{api_key, put_policy};

/// A request whose head was sent and whose body is held back.
struct Held {
    stream: TcpStream,
    body: String,
}

impl Held {
    fn begin(node: &Node, secret: &str, method: &str, path: &str, body: &Value) -> Self {
        let body = body.to_string();
        let mut stream = TcpStream::connect(node.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{}",
            body.len(),
            &body[..1]
        )
        .unwrap();
        Self { stream, body }
    }

    fn finish(mut self) -> u16 {
        self.stream.write_all(&self.body.as_bytes()[1..]).unwrap();
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

/// Long enough for the heads to be judged. Nothing tells when they have been; where one had not, the test would say less but nothing wrong.
#[expect(clippy::disallowed_methods, reason = "the attack is to wait")]
fn wait() {
    std::thread::sleep(Duration::from_millis(300));
}

fn secret_of(admin: &Client, roles: &[&str]) -> (String, String) {
    let made = admin.post("/v1/api-keys", &json!({"name": "held", "roles": roles})).expect(201);
    (made["id"].as_str().unwrap().to_owned(), made["secret"].as_str().unwrap().to_owned())
}

/// P4: what was begun under a credential or a policy is not carried out once they are gone.
#[test]
fn p4_a_request_held_back_is_judged_by_what_holds_when_it_is_whole() {
    let node = Node::start();
    let admin = node.client();
    admin.post("/v1/keys", &json!({"name": "k", "type": "aes256-gcm"})).expect(201);
    let ciphertext = admin.post("/v1/keys/k/encrypt", &json!({"plaintext": "aGk="})).expect(200);
    let permit_all = json!({"policy": "permit (principal, action, resource);"});
    let rotation = json!({"force": true, "reason": "late"});
    let requests = [
        ("POST", "/v1/api-keys", json!({"name": "back-door", "roles": ["admin"]})),
        ("PUT", "/v1/policies/back-door", permit_all),
        ("POST", "/v1/keys/k/rotate", rotation.clone()),
        ("POST", "/v1/keys/k/decrypt", json!({"ciphertext": ciphertext["ciphertext"]})),
        ("PATCH", "/v1/keys/k", json!({"description": "mine"})),
    ];
    let (id, secret) = secret_of(&admin, &["admin"]);
    let begin = |secret: &str| -> Vec<Held> {
        requests.iter().map(|(method, path, body)| Held::begin(&node, secret, method, path, body)).collect()
    };
    let held = begin(&secret);
    put_policy(
        &admin,
        "rotators",
        "permit (principal in Claviger::Role::\"r\", action == Claviger::Action::\"key.rotate\", resource);",
    );
    let rotator = Held::begin(&node, &secret_of(&admin, &["r"]).1, "POST", "/v1/keys/k/rotate", &rotation);
    wait();
    assert_eq!(admin.delete(&format!("/v1/api-keys/{id}")).status, 204);
    assert_eq!(admin.delete("/v1/policies/rotators").status, 204);
    for (held, request) in held.into_iter().zip(&requests) {
        assert_eq!(held.finish(), 401, "{request:?}");
    }
    assert_eq!(rotator.finish(), 404);
    let key = admin.get("/v1/keys/k").expect(200);
    assert_eq!((&key["primary_version"], &key["description"]), (&json!(1), &Value::Null));
    admin.get("/v1/policies/back-door").refused(404, "not_found");
    // Held back as long, whoever still has the right gets their way.
    let (_, secret) = secret_of(&admin, &["admin"]);
    let held = begin(&secret);
    wait();
    let statuses: Vec<u16> = held.into_iter().map(Held::finish).collect();
    assert_eq!(statuses, [201, 201, 200, 200, 200]);
}

/// Labels are what policies ask about, so whoever may change settings can't move a key into, or out of, somebody's reach.
#[test]
fn p8_labels_are_changed_only_with_a_right_of_its_own_before_and_after() {
    let node = Node::start();
    let admin = node.client();
    let team = |team: &str| format!("resource.hasTag(\"team\") && resource.getTag(\"team\") == \"{team}\"");
    let permit = |what: &str, when: &str| {
        format!("permit (principal in Claviger::Role::\"blue\", action {what}, resource) when {{ {when} }};")
    };
    put_policy(&admin, "blue", &permit("in Claviger::Action::\"operating\"", &team("blue")));
    put_policy(&admin, "data", &permit("in Claviger::Action::\"encrypting\"", "resource.hasTag(\"open\")"));
    let labels = json!({"team": "blue"});
    admin.post("/v1/keys", &json!({"name": "k", "type": "aes256-gcm", "labels": labels})).expect(201);
    let (_, blue) = api_key(&admin, &["blue"]);
    let patch = |labels: Value| blue.patch("/v1/keys/k", &json!({"labels": labels}));
    blue.patch("/v1/keys/k", &json!({"description": "ours"})).expect(200);
    patch(json!({"team": "blue"})).expect(200);
    patch(json!({"open": "1"})).refused(403, "forbidden");
    patch(json!(null)).refused(403, "forbidden");
    let (_, operator) = api_key(&admin, &["operator"]);
    operator.patch("/v1/keys/k", &json!({"labels": {"open": "1"}})).refused(403, "forbidden");

    put_policy(&admin, "label", &permit("== Claviger::Action::\"key.label\"", &team("blue")));
    patch(json!({"cost": "7"})).expect(200);
    for outside in [json!({"team": "red"}), json!(null), json!({"team": null})] {
        patch(outside).refused(403, "forbidden");
    }
    assert_eq!(admin.get("/v1/keys/k").expect(200)["labels"], json!({"team": "blue", "cost": "7"}));
    admin.patch("/v1/keys/k", &json!({"labels": {"team": "red"}})).expect(200);
    patch(json!({"team": "blue"})).refused(404, "key_not_found");
}

/// P8: nobody makes a credential that can do more, or lasts longer, than their own.
#[test]
fn p8_credentials_handed_on_hold_no_more_than_the_giver_has() {
    let node = Node::start();
    let admin = node.client();
    put_policy(
        &admin,
        "givers",
        "permit (principal in Claviger::Role::\"giver\", action in [Claviger::Action::\"api_key.create\", \
         Claviger::Action::\"api_key.rotate\", Claviger::Action::\"api_key.read\"], resource);",
    );
    let later = "2099-01-01T00:00:00Z";
    let body = json!({"name": "giver", "roles": ["giver", "signer"], "expires_at": "2098-01-01T00:00:00Z"});
    let made = admin.post("/v1/api-keys", &body).expect(201);
    let giver = admin.with_token(made["secret"].as_str());
    let give = |name: &str, roles: &[&str], expires_at: Value| {
        giver.post("/v1/api-keys", &json!({"name": name, "roles": roles, "expires_at": expires_at}))
    };
    let in_time = json!("2097-01-01T00:00:00Z");
    give("app", &["signer"], in_time.clone()).expect(201);
    give("app", &["admin"], in_time.clone()).refused(403, "forbidden");
    give("app", &["signer", "verifier"], in_time.clone()).refused(403, "forbidden");
    give("app", &["signer"], json!(later)).refused(403, "forbidden");
    give("app", &["signer"], json!(null)).refused(403, "forbidden");

    // One of the same roles may be given a new secret, unless a policy gives just that one something more.
    let body = json!({"name": "payroll", "roles": ["signer"], "expires_at": in_time});
    let favoured = admin.post("/v1/api-keys", &body).expect(201)["id"].as_str().unwrap().to_owned();
    let rotate = || giver.post(&format!("/v1/api-keys/{favoured}/rotate"), &json!({}));
    rotate().expect(200);
    let by_id = format!("permit (principal == Claviger::ApiKey::\"{favoured}\", action, resource);");
    put_policy(&admin, "favour", &by_id);
    rotate().refused(403, "forbidden");
    give("other", &["signer"], in_time.clone()).expect(201);
    // A name that policies ask about can't be taken.
    let by_name =
        "permit (principal is Claviger::ApiKey, action, resource) when { principal.name == \"payroll\" };";
    put_policy(&admin, "favour", by_name);
    rotate().refused(403, "forbidden");
    give("payroll", &["signer"], in_time.clone()).refused(403, "forbidden");
    assert_eq!(admin.delete("/v1/policies/favour").status, 204);
    // Nor does anybody shed what is forbidden to them alone.
    let id = made["id"].as_str().unwrap();
    let restraint = format!(
        "forbid (principal == Claviger::ApiKey::\"{id}\", action == Claviger::Action::\"key.sign\", resource);"
    );
    put_policy(&admin, "restraint", &restraint);
    give("fresh", &["signer"], in_time).refused(403, "forbidden");

    // Nor by leaving out the role that is restrained.
    let restrained = "forbid (principal in Claviger::Role::\"contractor\", action == Claviger::Action::\"key.sign\", resource);";
    put_policy(&admin, "contractors", restrained);
    let roles = ["giver", "signer", "contractor"];
    let (_, contractor) = api_key(&admin, &roles);
    let give = |roles: &[&str]| contractor.post("/v1/api-keys", &json!({"name": "x", "roles": roles}));
    give(&["signer"]).refused(403, "forbidden");
    give(&["signer", "contractor"]).expect(201);

    // A secret on its way out gives nothing that outlives it, and does not keep itself.
    let (id, old) = api_key(&admin, &["giver", "signer"]);
    admin.post(&format!("/v1/api-keys/{id}/rotate"), &json!({"overlap": "1h"})).expect(200);
    old.post("/v1/api-keys", &json!({"name": "x", "roles": ["signer"]})).refused(403, "forbidden");
    old.post(&format!("/v1/api-keys/{id}/rotate"), &json!({})).refused(403, "forbidden");

    // A token gives no API keys at all.
    put_policy(&admin, "subjects", "permit (principal is Claviger::Subject, action, resource);");
    let token = admin.post("/v1/tokens", &json!({"audience": "claviger", "subject": "job"})).expect(201);
    let job = admin.with_token(token["token"].as_str());
    job.post("/v1/api-keys", &json!({"name": "mine", "roles": []})).refused(403, "forbidden");
}

/// The record tells the grave from the everyday: whose credential was made, what was rescued, what of a batch was denied.
#[test]
fn p6_records_name_credentials_rescues_and_what_was_denied() {
    let node = Node::start();
    let admin = node.client();
    admin.post("/v1/keys", &json!({"name": "k", "type": "aes256-gcm"})).expect(201);
    let ciphertext = admin.post("/v1/keys/k/encrypt", &json!({"plaintext": "aGk="})).expect(200);
    let ciphertext = ciphertext["ciphertext"].clone();
    admin.post("/v1/tokens", &json!({"audience": "claviger", "subject": "job"})).expect(201);
    admin.post("/v1/tokens", &json!({"audience": "shop", "subject": "somebody"})).expect(201);
    admin.post("/v1/keys/k/versions/1/compromise", &json!({"reason": "drill"})).expect(200);
    let rescue = json!({"ciphertext": ciphertext, "allow_compromised": true});
    admin.post("/v1/keys/k/decrypt", &rescue).expect(200);
    let (_, encrypter) = api_key(&admin, &["encrypter"]);
    encrypter.post("/v1/keys/k/decrypt", &json!({"batch": [rescue, rescue, {}]})).expect(200);

    let records = node.records();
    let of = |operation: &str| {
        records.iter().filter(|record| record["operation"] == operation).collect::<Vec<_>>()
    };
    let issued = of("token.issue");
    assert_eq!(
        (&issued[0]["sub"], &issued[0]["permission"]),
        (&json!("job"), &json!("token.issue_credential"))
    );
    // Other tokens' subjects are their applications' own affair.
    assert!(issued[1].get("sub").is_none() && issued[1].get("permission").is_none());
    let decrypted = of("key.decrypt");
    assert_eq!(decrypted[0]["permission"], "key.rescue");
    assert_eq!((&decrypted[1]["failed"], &decrypted[1]["forbidden"]), (&json!(3), &json!(2)));
}

/// A retry is answered as before only while the key is still the caller's to use, and the record says that it was a retry.
#[test]
fn a_kept_answer_is_given_again_only_while_the_right_lasts() {
    let node = Node::start();
    let admin = node.client();
    for name in ["mine", "other"] {
        admin.post("/v1/keys", &json!({"name": name, "type": "es256"})).expect(201);
    }
    let permit = |name: &str| {
        format!(
            "permit (principal in Claviger::Role::\"r\", action == Claviger::Action::\"token.issue\", resource) \
             when {{ resource.name == \"{name}\" }};"
        )
    };
    put_policy(&admin, "mine", &permit("mine"));
    put_policy(&admin, "other", &permit("other"));
    let (_, client) = api_key(&admin, &["r"]);
    let body = json!({"key": "mine", "subject": "s"}).to_string().into_bytes();
    let issue = || client.send("POST", "/v1/tokens", Some(body.clone()), &[("Idempotency-Key", "one")]);
    let first = issue().expect(201);
    assert_eq!(issue().expect(201)["token"], first["token"]);
    assert_eq!(admin.delete("/v1/policies/mine").status, 204);
    issue().refused(404, "key_not_found");
    put_policy(&admin, "mine", &permit("mine"));
    assert_eq!(issue().expect(201)["token"], first["token"]);

    let mut records = node.records();
    records.retain(|record| record["operation"] == "token.issue");
    let told: Vec<(&Value, bool)> =
        records.iter().map(|record| (&record["outcome"], record["replayed"] == true)).collect();
    let (ok, forbidden) = (json!("ok"), json!("forbidden"));
    assert_eq!(told, [(&ok, false), (&ok, true), (&forbidden, true), (&ok, true)]);
    assert!(records.iter().all(|record| record["key"] == "mine" && record["jti"] == first["jti"]));
}

/// Of keys that a replaced system knew under one id, those that the caller may not use do not hide the one that they may.
#[test]
fn a_forbidden_namesake_does_not_hide_the_key_that_made_the_token() {
    let node = Node::start();
    let admin = node.client();
    let secret = "0123456789abcdefghijklmnopqrstuvwxyz-legacy";
    let old =
        Material::import_legacy(KeyType::Hs256, &SecretBytes::new(secret.as_bytes().to_vec()), None).unwrap();
    let alias = String::from_utf8(old.alias.expose().to_vec()).unwrap();
    let prepared = PreparedKey::new(KeyType::Hs256, &old.material.secret).unwrap();
    let claims = json!({"exp": 4_000_000_000_u64}).as_object().unwrap().clone();
    let token = jws::issue(&prepared, &alias.parse().unwrap(), &claims).unwrap();
    for (name, key_type) in [("bank-old", "hs512"), ("shop-old", "hs256")] {
        let body = json!({"name": name, "type": key_type, "legacy_secret": secret, "kid": alias});
        admin.post("/v1/keys/import", &body).expect(201);
    }
    put_policy(
        &admin,
        "shop",
        "permit (principal in Claviger::Role::\"shop\", action == Claviger::Action::\"key.read\", resource);
         permit (principal in Claviger::Role::\"shop\", action == Claviger::Action::\"token.verify\", resource)
         when { resource.name like \"shop-*\" };",
    );
    let (_, shop) = api_key(&admin, &["shop"]);
    assert_eq!(admin.post("/v1/tokens/verify", &json!({"token": token})).expect(200)["key"], "shop-old");
    let verified = shop.post("/v1/tokens/verify", &json!({"token": token})).expect(200);
    assert_eq!((&verified["valid"], &verified["key"]), (&json!(true), &json!("shop-old")));
    let by_bank = json!({"token": token, "key": "bank-old"});
    shop.post("/v1/tokens/verify", &by_bank).refused(403, "forbidden");
}
