//! How OpenBao is asked for the same, and whether its answers are right.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use claviger_entity::KeyType;
use claviger_tests::Client;
use serde_json::{Value, json};

use crate::{
    operation::{BATCH, Operation},
    rest::{asked, payload},
    signature,
    target::Request,
};

/// Its keys: name and type.
pub(crate) const KEYS: [(&str, &str); 4] =
    [("aes", "aes256-gcm96"), ("ec", "ecdsa-p256"), ("ed", "ed25519"), ("rsa", "rsa-2048")];
const ENCRYPT: &str = "/v1/transit/encrypt/aes";
const DECRYPT: &str = "/v1/transit/decrypt/aes";

/// Asks once, and answers with a request whose answer was right; `None` for what it can't do.
pub(crate) fn request(client: &Client, operation: Operation) -> Option<Request> {
    let payload = payload(operation);
    Some(match operation {
        Operation::Encrypt32 | Operation::Encrypt4k => {
            let request = Request::post(ENCRYPT, &json!({ "plaintext": payload }));
            assert_eq!(opened(client, &data(client, &request)["ciphertext"]), payload);
            request
        }
        Operation::Decrypt32 | Operation::Decrypt4k => {
            let sealed = data(client, &Request::post(ENCRYPT, &json!({ "plaintext": payload })));
            assert_eq!(opened(client, &sealed["ciphertext"]), payload);
            Request::post(DECRYPT, &json!({ "ciphertext": sealed["ciphertext"] }))
        }
        Operation::Batch => {
            let items = vec![json!({ "plaintext": payload }); BATCH];
            let request = Request::post(ENCRYPT, &json!({ "batch_input": items }));
            let answer = data(client, &request);
            let sealed = answer["batch_results"].as_array().unwrap();
            assert_eq!(sealed.len(), BATCH);
            for item in sealed {
                assert_eq!(opened(client, &item["ciphertext"]), payload);
            }
            request
        }
        Operation::Es256 => signed(client, "ec", KeyType::Es256, &payload),
        Operation::EdDsa => signed(client, "ed", KeyType::Eddsa, &payload),
        Operation::Rs256 => signed(client, "rsa", KeyType::Rs256, &payload),
        Operation::Issue | Operation::Verify | Operation::Jwks => return None,
    })
}

fn data(client: &Client, request: &Request) -> Value {
    asked(client, request)["data"].take()
}

fn opened(client: &Client, ciphertext: &Value) -> String {
    let answer = data(client, &Request::post(DECRYPT, &json!({ "ciphertext": ciphertext })));
    answer["plaintext"].as_str().unwrap().to_owned()
}

/// The hash and the padding are those of the JOSE algorithms; so is the form, r ‖ s, of ECDSA.
fn signed(client: &Client, name: &str, key_type: KeyType, input: &str) -> Request {
    let body = json!({
        "input": input,
        "prehashed": false,
        "hash_algorithm": "sha2-256",
        "signature_algorithm": "pkcs1v15",
        "marshaling_algorithm": if key_type == KeyType::Es256 { "jws" } else { "asn1" },
    });
    let request = Request::post(&format!("/v1/transit/sign/{name}"), &body);
    let answer = data(client, &request);
    let text = answer["signature"].as_str().unwrap().rsplit(':').next().unwrap();
    let signature = STANDARD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text)).unwrap();
    let key = client.get(&format!("/v1/transit/keys/{name}")).expect(200);
    let public = key["data"]["keys"]["1"]["public_key"].as_str().unwrap();
    let spki =
        if key_type == KeyType::Eddsa { signature::of_ed25519(public) } else { signature::of_pem(public) };
    signature::check(key_type, &spki, input, &signature);
    request
}
