//! Keys from elsewhere, and the tokens that came with them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use claviger_tests::Node;
use serde_json::json;

const JWE: &str = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoia2V5MSJ9..NJs9xezbNx3va7Q1.I7FvCODEX_cnrB7qmAVkxFaNET89ZoEVo9Enp33plE7jeBJObPGPzWLjEg-khlzeggyUa_7u.TmGNAVzMIIl4dbMB5NfyGg";
const FERNET: &str =
    "gAAAAABlU_EAAAECAwQFBgcICQoLDA0OD4x1QbhbxTxCvggQDuMNOs4OV_q4t824s-W-kYw1CvxS4Cch48f-jqrvzJ5dLRVNbg==";

#[test]
fn legacy_secrets_get_the_agreed_kids() {
    let node = Node::start();
    let client = node.client();
    for (key_type, kid) in [
        ("hs256", "D8Nag8KdQlf2B291V1ykSg6LzULsv2rkkLS3PdklYgc"),
        ("aes256-gcm", "sxi2MQ1reU9so2avQS0sBOjDalGBgzgdP8ODaoEVxwu"),
        ("fernet", "kK8fMhS1MWIwWMbdTSnJseqUosOJssAi9Hin9tauW5s"),
    ] {
        let body = json!({"name": key_type, "type": key_type, "legacy_secret": "deterministic-secret"});
        let key = client.post("/v1/keys/import", &body).expect(201);
        // Too short to sign: version 1 verifies beside a generated primary 2.
        assert_eq!(key["primary_version"], 2);
        assert_eq!(
            (&key["versions"][2]["kid"], &key["versions"][2]["state"]),
            (&json!(kid), &json!("deactivated"))
        );
        assert_eq!(key["warnings"].as_array().unwrap().len(), 2);
    }
    let long = json!({"name": "long", "type": "hs256", "legacy_secret": "a legacy secret that has thirty-two bytes or more"});
    let key = client.post("/v1/keys/import", &long).expect(201);
    assert_eq!((&key["primary_version"], &key["versions"][1]["origin"]), (&json!(1), &json!("imported")));
    client.post("/v1/keys/import", &json!({"name": "twice", "type": "hs256", "legacy_secret": "a legacy secret that has thirty-two bytes or more"})).refused(409, "key_exists");
}

#[test]
fn legacy_tokens_are_read() {
    let node = Node::start();
    let client = node.client();
    let claims = json!({"allow_missing_exp": true});
    let body = json!({"name": "jwe", "type": "aes256-gcm", "legacy_secret": "test_secret_key_1", "kid": "key1", "claims": claims});
    client.post("/v1/keys/import", &body).expect(201);
    let read = client.post("/v1/tokens/verify", &json!({"token": JWE})).expect(200);
    assert_eq!((&read["valid"], &read["claims"]["role"]), (&json!(true), &json!("admin")));
    client.patch("/v1/keys/jwe", &json!({"claims": {"allow_missing_exp": null}})).expect(200);
    assert_eq!(
        client.post("/v1/tokens/verify", &json!({"token": JWE})).expect(200)["code"],
        "claims_invalid"
    );

    client
        .post("/v1/keys/import", &json!({"name": "f", "type": "fernet", "legacy_secret": "test_secret"}))
        .expect(201);
    let read = client.post("/v1/keys/f/decrypt", &json!({"ciphertext": FERNET})).expect(200);
    assert_eq!(read["plaintext"], STANDARD.encode("hello"));
    let wrapped =
        client.post("/v1/keys/f/decrypt", &json!({"ciphertext": STANDARD.encode(FERNET)})).expect(200);
    assert_eq!(wrapped["plaintext"], STANDARD.encode("hello"));
}

/// Tokens of replaced systems name their key by an id that is the key; it is known by its keyed hash only.
#[test]
fn an_old_id_is_an_alias_and_nothing_more() {
    use claviger_crypto::{jws, material::Material, prepared::PreparedKey, secret::SecretBytes};
    use claviger_entity::KeyType;
    let secret = "an old secret with rather more than 32 bytes";
    let old =
        Material::import_legacy(KeyType::Hs256, &SecretBytes::new(secret.as_bytes().to_vec()), None).unwrap();
    let alias = String::from_utf8(old.alias.expose().to_vec()).unwrap();
    let node = Node::start();
    let client = node.client();
    let key = client
        .post(
            "/v1/keys/import",
            &json!({"name": "k", "type": "hs256", "legacy_secret": secret, "kid": alias}),
        )
        .expect(201);
    assert_ne!(key["versions"][1]["kid"], alias);
    let prepared = PreparedKey::new(KeyType::Hs256, &old.material.secret).unwrap();
    let claims = json!({"exp": 4_000_000_000_u64}).as_object().unwrap().clone();
    let token = jws::issue(&prepared, &alias.parse().unwrap(), &claims).unwrap();
    let read = client.post("/v1/tokens/verify", &json!({"token": token})).expect(200);
    assert_eq!((&read["valid"], &read["kid"]), (&json!(true), &key["versions"][1]["kid"]));
}

#[test]
fn raw_and_pem_imports() {
    use claviger_crypto::material::Material;
    use claviger_entity::KeyType;
    let node = Node::start();
    let client = node.client();
    let raw = |name: &str, key_type: &str, length: usize| {
        let material = STANDARD.encode(vec![u8::try_from(length).unwrap(); length]);
        client.post(
            "/v1/keys/import",
            &json!({"name": name, "type": key_type, "material": material, "kid": name}),
        )
    };
    assert_eq!(raw("aes", "aes256-gcm", 32).expect(201)["versions"][1]["kid"], "aes");
    raw("mac", "hmac-sha256", 16).expect(201);
    for (key_type, length) in
        [("aes256-gcm", 31), ("fernet", 33), ("hmac-sha256", 15), ("hs256", 31), ("hs512", 63), ("es256", 32)]
    {
        raw("bad", key_type, length).refused(400, "invalid_request");
    }
    for key_type in [KeyType::Es256, KeyType::Es384, KeyType::Eddsa, KeyType::Rs256] {
        let material = Material::generate(key_type, None).unwrap();
        let der = material.secret.expose();
        let pem =
            format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der));
        let body = json!({"name": key_type.as_str(), "type": key_type.as_str(), "material": pem});
        let key = client.post("/v1/keys/import", &body).expect(201);
        assert_eq!(key["versions"][1]["kid"], material.kid.as_str());
        let token =
            client.post("/v1/tokens", &json!({"key": key_type.as_str()})).expect(201)["token"].clone();
        assert_eq!(client.post("/v1/tokens/verify", &json!({"token": token})).expect(200)["valid"], true);
        let mut wrong = body.clone();
        wrong["type"] = json!(if key_type == KeyType::Es256 { "es384" } else { "es256" });
        wrong["name"] = json!("wrong");
        client.post("/v1/keys/import", &wrong).refused(400, "invalid_request");
    }
    for body in [
        json!({"name": "x", "type": "hs256"}),
        json!({"name": "x", "type": "hs256", "material": "AAAA", "legacy_secret": "b"}),
        json!({"name": "x", "type": "rs256", "legacy_secret": "b"}),
        json!({"name": "x", "type": "rs256", "material": "no pem"}),
        json!({"name": "x", "type": "hs256", "legacy_secret": ""}),
        json!({"name": "x", "type": "hs256", "legacy_secret": "s", "kid": "a/b"}),
    ] {
        client.post("/v1/keys/import", &body).refused(400, "invalid_request");
    }
}
