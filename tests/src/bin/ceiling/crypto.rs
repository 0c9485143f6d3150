//! `encrypt`, `decrypt` and `sign`, alone; `encrypt` also as a batch.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Bytes, Data, Path},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use claviger_crypto::{ciphertext, prepared::SignatureEncoding};
use serde::{Deserialize, Serialize};

use crate::{
    answer,
    keys::{Key, Keys},
};

#[derive(Deserialize)]
struct Encrypt {
    plaintext: Option<String>,
    context: Option<String>,
    batch: Option<Vec<Encrypt>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Encrypted<'a> {
    One { ciphertext: String, kid: &'a str },
    Batch { batch: Vec<Self> },
}

pub(crate) async fn encrypt(keys: Data<Keys>, body: Bytes) -> HttpResponse {
    answer(&body, |given: Encrypt| match &given.batch {
        None => sealed(&keys.aes, &given),
        Some(batch) => {
            let batch = batch.iter().map(|item| sealed(&keys.aes, item)).collect::<Option<Vec<_>>>()?;
            Some(Encrypted::Batch { batch })
        }
    })
}

fn sealed<'a>(key: &'a Key, given: &Encrypt) -> Option<Encrypted<'a>> {
    let plaintext = STANDARD.decode(given.plaintext.as_ref()?).ok()?;
    let context = given.context.as_deref().unwrap_or_default();
    let ciphertext = ciphertext::encrypt(&key.prepared, &key.kid, &plaintext, context).ok()?;
    Some(Encrypted::One { ciphertext, kid: key.kid.as_str() })
}

#[derive(Deserialize)]
struct Decrypt {
    ciphertext: String,
    context: Option<String>,
}

#[derive(Serialize)]
struct Decrypted<'a> {
    plaintext: String,
    kid: &'a str,
}

pub(crate) async fn decrypt(keys: Data<Keys>, body: Bytes) -> HttpResponse {
    answer(&body, |given: Decrypt| {
        let parsed = ciphertext::parse(&given.ciphertext).ok()?;
        let context = given.context.as_deref().unwrap_or_default();
        let plaintext = ciphertext::decrypt(&parsed, &keys.aes.prepared, context).ok()?;
        Some(Decrypted { plaintext: STANDARD.encode(plaintext.expose()), kid: keys.aes.kid.as_str() })
    })
}

#[derive(Deserialize)]
struct Sign {
    input: String,
    #[serde(default)]
    prehashed: bool,
    #[serde(default)]
    encoding: SignatureEncoding,
}

#[derive(Serialize)]
struct Signed<'a> {
    signature: String,
    kid: &'a str,
    algorithm: Option<String>,
}

pub(crate) async fn sign(keys: Data<Keys>, request: HttpRequest, body: Bytes) -> HttpResponse {
    answer(&body, |given: Sign| {
        let key = keys.signer(request.path().split('/').nth(3)?)?;
        let input = STANDARD.decode(&given.input).ok()?;
        let signature = key.prepared.sign_raw(&input, given.prehashed, given.encoding).ok()?;
        let algorithm = key.prepared.key_type().algorithm().map(|algorithm| algorithm.to_string());
        Some(Signed { signature: STANDARD.encode(signature), kid: key.kid.as_str(), algorithm })
    })
}

/// For whoever checks a signature.
pub(crate) async fn public(keys: Data<Keys>, name: Path<String>) -> HttpResponse {
    let Some(der) = keys.signer(&name).and_then(|key| key.public.as_ref()) else {
        return HttpResponse::NotFound().finish();
    };
    let text = STANDARD.encode(der);
    HttpResponse::Ok().body(format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n"))
}
