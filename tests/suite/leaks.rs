//! P5: no secret leaves.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use claviger_tests::{Answer, Node, needles::Needles, node};
use serde_json::{Value, json};

/// Uses known secrets in every way there is, provokes errors that hold them, and then looks for them everywhere.
#[test]
fn p5_no_secret_leaves() {
    no_secret_leaves(Node::start());
}

/// Not even to whoever has all lines of the log, those of libraries too.
#[test]
fn p5_no_secret_is_in_the_finest_log() {
    no_secret_leaves(Node::with(&[("CLAVIGER_LOG__FILTER", "trace")]));
}

fn no_secret_leaves(mut node: Node) {
    let client = node.client();
    let mut needles = Needles::default();
    let mut errors: Vec<Answer> = Vec::new();
    needles.add("master key", node::MASTER.as_bytes());
    needles.add("bootstrap token", node::TOKEN.as_bytes());

    for (name, key_type, length) in [
        ("raw-aes", "aes256-gcm", 32),
        ("raw-hs", "hs256", 48),
        ("raw-fernet", "fernet", 32),
        ("raw-mac", "hmac-sha256", 20),
    ] {
        let secret: Vec<u8> = rand::random_iter().take(length).collect();
        needles.add(name, &secret);
        client
            .post(
                "/v1/keys/import",
                &json!({"name": name, "type": key_type, "material": STANDARD.encode(&secret)}),
            )
            .expect(201);
        // Again under other names: as a kid, with a type that does not fit, in the wrong member.
        for body in [
            json!({"name": "x", "type": key_type, "material": STANDARD.encode(&secret), "kid": hex::encode(&secret)}),
            json!({"name": "x", "type": "es256", "material": STANDARD.encode(&secret)}),
            // Base64 without `+` and `/` is a name, so it must not begin like one.
            json!({"name": format!("={}", STANDARD.encode(&secret)), "type": key_type}),
            json!({"name": "x", "type": STANDARD.encode(&secret)}),
            json!({"name": "x", "type": key_type, hex::encode(&secret): 1}),
            json!({"name": "x", "type": key_type, "bits": hex::encode(&secret)}),
        ] {
            errors.push(client.post("/v1/keys/import", &body));
            errors.push(client.post("/v1/keys", &body));
        }
        errors.push(client.get(&format!("/v1/keys/{}", hex::encode(&secret))));
        errors.push(client.get(&format!("/v1/keys?cursor={}", hex::encode(&secret))));
        errors.push(client.with_token(Some(&hex::encode(&secret))).get("/v1/keys"));
    }
    for key_type in ["hs256", "aes256-gcm", "fernet"] {
        for secret in [
            format!("a long legacy secret for {key_type}, more than 64 bytes: 0123456789abcdefghijkl"),
            format!("short {key_type}"),
        ] {
            needles.add("legacy secret", secret.as_bytes());
            let name = format!("legacy-{key_type}-{}", secret.len());
            client
                .post("/v1/keys/import", &json!({"name": name, "type": key_type, "legacy_secret": secret}))
                .expect(201);
            errors.push(client.post(
                "/v1/keys/import",
                &json!({"name": name, "type": key_type, "legacy_secret": secret, "kid": "a b"}),
            ));
        }
    }
    use_everything(&node, &mut needles, &mut errors);
    use_api_keys(&node, &mut needles, &mut errors);
    let kids = kids(&node);
    assert!(kids.len() > 20);
    assert!(errors.len() > 30 && errors.iter().all(|answer| (400..500).contains(&answer.status)));
    assert!(node.terminate().success());

    let mut places: Vec<(&str, Vec<u8>)> =
        ["data/claviger.db", "data/audit/audit.log", "data/audit/security.log", "stderr"]
            .map(|file| (file, std::fs::read(node.folder().join(file)).unwrap()))
            .into();
    places.extend(kids.into_iter().map(|kid| ("a kid", kid.into_bytes())));
    for answer in errors {
        places.push(("an error's headers", format!("{:?}", answer.headers).into_bytes()));
        places.push(("an error", answer.text.into_bytes()));
    }
    for (place, haystack) in &places {
        assert_eq!(needles.found_in(haystack), Vec::<&str>::new(), "in {place}");
    }
    assert!(places.iter().map(|(_, haystack)| haystack.len()).sum::<usize>() > 50_000);
}

fn use_everything(node: &Node, needles: &mut Needles, errors: &mut Vec<Answer>) {
    let client = node.client();
    let plaintext = b"the very secret plaintext of this test";
    needles.add("plaintext", plaintext);
    let sealed = client
        .post("/v1/keys/raw-aes/encrypt", &json!({"plaintext": STANDARD.encode(plaintext)}))
        .expect(200);
    client.post("/v1/keys/raw-aes/decrypt", &json!({"ciphertext": sealed["ciphertext"]})).expect(200);
    errors.push(client.post("/v1/keys/raw-aes/encrypt", &json!({"plaintext": plaintext.to_vec()})));
    errors.push(client.post("/v1/keys/raw-aes/decrypt", &json!({"ciphertext": STANDARD.encode(plaintext)})));
    errors.push(client.post("/v1/keys/raw-mac/hmac", &json!({"input": String::from_utf8_lossy(plaintext)})));
    let datakey = client.post("/v1/keys/raw-aes/datakey", &json!({})).expect(200);
    needles.add("data key", &STANDARD.decode(datakey["plaintext"].as_str().unwrap()).unwrap());
    for (key, format) in [("raw-hs", "jws"), ("default-signing", "jws"), ("default-encryption", "jwe")] {
        let body = json!({"key": key, "format": format}).to_string().into_bytes();
        let token =
            client.send("POST", "/v1/tokens", Some(body), &[("Idempotency-Key", key)]).expect(201)["token"]
                .clone();
        let text = token.as_str().unwrap();
        needles.add("token", text.as_bytes());
        client.post("/v1/tokens/verify", &json!({"token": token})).expect(200);
        client.post("/v1/tokens/verify", &json!({"token": format!("{text}x")})).expect(200);
        errors.push(client.post("/v1/tokens/verify", &json!({"token": [text]})));
        errors.push(client.with_token(Some(text)).get("/v1/keys"));
        errors.push(client.get(&format!("/v1/{text}")));
    }
}

fn use_api_keys(node: &Node, needles: &mut Needles, errors: &mut Vec<Answer>) {
    let client = node.client();
    let body = json!({"name": "app", "roles": ["signer"]}).to_string().into_bytes();
    let made = client.send("POST", "/v1/api-keys", Some(body), &[("Idempotency-Key", "app")]).expect(201);
    let rotate = format!("/v1/api-keys/{}/rotate", made["id"].as_str().unwrap());
    let rotated = client.post(&rotate, &json!({"overlap": "1h"})).expect(200);
    for made in [&made, &rotated] {
        let secret = made["secret"].as_str().unwrap();
        needles.add("API key", secret.as_bytes());
        needles.add("secret of an API key", secret.rsplit('_').next().unwrap().as_bytes());
        client.with_token(Some(secret)).get("/v1/keys").expect(200);
        errors.push(client.with_token(Some(secret)).get("/v1/policies"));
        errors.push(client.with_token(Some(&format!("{secret}x"))).get("/v1/keys"));
        errors.push(client.get(&format!("/v1/api-keys/{secret}")));
        errors.push(client.delete(&format!("/v1/policies/{secret}")));
        errors.push(client.post("/v1/api-keys", &json!({"name": "x", "roles": [format!("={secret}")]})));
        errors.push(client.post("/v1/api-keys", &json!({"name": format!("={secret}"), "roles": []})));
        errors.push(client.post("/v1/api-keys", &json!({"name": "x", secret: 1})));
        errors.push(client.post(&rotate, &json!({"overlap": secret})));
    }
}

fn kids(node: &Node) -> Vec<String> {
    let page = node.client().get("/v1/keys?limit=1000").expect(200);
    let versions =
        page["items"].as_array().unwrap().iter().flat_map(|key| key["versions"].as_array().unwrap());
    versions.map(|version: &Value| version["kid"].as_str().unwrap().to_owned()).collect()
}
