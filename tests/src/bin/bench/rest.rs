//! How Claviger is asked, and the ceiling in its place; and whether the answers are right.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use claviger_entity::KeyType;
use claviger_tests::Client;
use serde_json::{Value, json};

use crate::{
    operation::{BATCH, Operation},
    signature,
    target::Request,
};

/// Keys that are measured: name, type, usage.
pub(crate) const KEYS: [(&str, &str, &str); 5] = [
    ("bench-aes", "aes256-gcm", "encrypt"),
    ("bench-hs256", "hs256", "token"),
    ("bench-es256", "es256", "sign"),
    ("bench-eddsa", "eddsa", "sign"),
    ("bench-rs256", "rs256", "sign"),
];
const ENCRYPT: &str = "/v1/keys/bench-aes/encrypt";
const DECRYPT: &str = "/v1/keys/bench-aes/decrypt";
const VERIFY: &str = "/v1/tokens/verify";
const JWKS: &str = "/.well-known/jwks.json";
const AUDIENCE: &str = "shop";

/// Asks once, and answers with a request whose answer was right.
pub(crate) fn request(client: &Client, operation: Operation) -> Request {
    let payload = payload(operation);
    match operation {
        Operation::Encrypt32 | Operation::Encrypt4k => {
            let request = Request::post(ENCRYPT, &json!({ "plaintext": payload }));
            assert_eq!(opened(client, &asked(client, &request)["ciphertext"]), payload);
            request
        }
        Operation::Decrypt32 | Operation::Decrypt4k => {
            let sealed = asked(client, &Request::post(ENCRYPT, &json!({ "plaintext": payload })));
            assert_eq!(opened(client, &sealed["ciphertext"]), payload);
            Request::post(DECRYPT, &json!({ "ciphertext": sealed["ciphertext"] }))
        }
        Operation::Batch => {
            let items = vec![json!({ "plaintext": payload }); BATCH];
            let request = Request::post(ENCRYPT, &json!({ "batch": items }));
            let answer = asked(client, &request);
            let sealed = answer["batch"].as_array().unwrap();
            assert_eq!(sealed.len(), BATCH);
            for item in sealed {
                assert_eq!(opened(client, &item["ciphertext"]), payload);
            }
            request
        }
        Operation::Es256 => signed(client, "bench-es256", KeyType::Es256, &payload),
        Operation::EdDsa => signed(client, "bench-eddsa", KeyType::Eddsa, &payload),
        Operation::Rs256 => signed(client, "bench-rs256", KeyType::Rs256, &payload),
        Operation::Issue => {
            let request = issue();
            let _claims = verified(client, &asked(client, &request)["token"]);
            request
        }
        Operation::Verify => {
            let token = asked(client, &issue())["token"].clone();
            let claims = verified(client, &token);
            assert_eq!((&claims["role"], &claims["sub"]), (&json!("buyer"), &json!("alice")));
            Request::post(VERIFY, &json!({"token": token, "audience": AUDIENCE}))
        }
        Operation::Jwks => {
            let set = client.get(JWKS).expect(200);
            assert!(set["keys"].as_array().is_some_and(|keys| keys.len() > 1), "{set}");
            Request::get(JWKS)
        }
    }
}

/// The key set as it goes out.
pub(crate) fn jwks(client: &Client) -> String {
    client.get(JWKS).text
}

/// What is encrypted or signed, in base64.
pub(crate) fn payload(operation: Operation) -> String {
    let bytes: Vec<u8> = (0..operation.payload()).map(|index| (index % 251) as u8).collect();
    STANDARD.encode(bytes)
}

/// The answer to a request that must succeed.
pub(crate) fn asked(client: &Client, request: &Request) -> Value {
    let body = request.body.clone().map(String::into_bytes);
    let answer = client.send(request.method, &request.path, body, &[]);
    assert!((200..300).contains(&answer.status), "{}: {}", request.path, answer.text);
    answer.json()
}

fn opened(client: &Client, ciphertext: &Value) -> String {
    let answer = asked(client, &Request::post(DECRYPT, &json!({ "ciphertext": ciphertext })));
    answer["plaintext"].as_str().unwrap().to_owned()
}

fn signed(client: &Client, name: &str, key_type: KeyType, input: &str) -> Request {
    let request = Request::post(&format!("/v1/keys/{name}/sign"), &json!({ "input": input }));
    let answer = asked(client, &request);
    let public = client.get(&format!("/v1/keys/{name}/versions/1/public.pem")).text;
    let signature = STANDARD.decode(answer["signature"].as_str().unwrap()).unwrap();
    signature::check(key_type, &signature::of_pem(&public), input, &signature);
    request
}

fn issue() -> Request {
    let body = json!({
        "key": "bench-hs256",
        "claims": {"role": "buyer"},
        "subject": "alice",
        "audience": AUDIENCE,
    });
    Request::post("/v1/tokens", &body)
}

fn verified(client: &Client, token: &Value) -> Value {
    let answer = asked(client, &Request::post(VERIFY, &json!({"token": token, "audience": AUDIENCE})));
    assert_eq!(answer["valid"], true, "{answer}");
    answer["claims"].clone()
}
