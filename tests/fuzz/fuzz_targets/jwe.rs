//! Encrypted tokens. Input is a token, or a header and a plaintext on the lines after it, which the target encrypts itself.

#![no_main]

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use claviger_crypto::{
    aead::{Aead, NONCE_BYTES, TAG_BYTES},
    json, jwe,
    token::{self, MAX_TOKEN_BYTES, ParsedToken},
};
use claviger_fuzz::{
    bounded,
    keys::{self, keys},
};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

const IV: [u8; NONCE_BYTES] = [7; NONCE_BYTES];

fuzz_target!(init: keys::prepare(), |data: &[u8]| bounded(|| run(data)));

fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match text.split_once('\n') {
        Some((header, plaintext)) => encrypted(header, plaintext),
        None => {
            if judge(text).is_some() {
                is_whole(text);
            }
        }
    }
}

fn judge(text: &str) -> Option<Map<String, Value>> {
    match token::parse(text).ok()? {
        ParsedToken::Jwe(parsed) => jwe::decrypt(&parsed, &keys().aes).ok(),
        ParsedToken::Jws(_) => None,
    }
}

fn aead() -> &'static Aead {
    keys().aes.aead().expect("an AES key")
}

/// Accepted must mean: these five texts, and no others, are what the key makes of this plaintext.
fn is_whole(text: &str) {
    let segments: Vec<_> =
        text.split('.').map(|segment| (segment, URL_SAFE_NO_PAD.decode(segment).expect("base64"))).collect();
    for (segment, bytes) in &segments {
        assert_eq!(URL_SAFE_NO_PAD.encode(bytes), *segment);
    }
    let [(aad, _), (_, encrypted_key), (_, iv), (_, ciphertext), (_, tag)] = segments.as_slice() else {
        panic!("five segments");
    };
    assert!(encrypted_key.is_empty());
    let iv: &[u8; NONCE_BYTES] = iv.as_slice().try_into().expect("12 bytes");
    let sealed = [ciphertext.as_slice(), tag].concat();
    let opened = aead().open_with(iv, aad.as_bytes(), &sealed).expect("it was accepted");
    assert_eq!(aead().seal_with(iv, aad.as_bytes(), opened.expose()), Ok(sealed));
}

/// Under a right tag, what is accepted depends on header and plaintext alone.
fn encrypted(header: &str, plaintext: &str) {
    let aad = URL_SAFE_NO_PAD.encode(header);
    let sealed = aead().seal_with(&IV, aad.as_bytes(), plaintext.as_bytes()).expect("short enough");
    let (ciphertext, tag) = sealed.split_last_chunk::<TAG_BYTES>().expect("a tag");
    let rest = [&IV[..], ciphertext, tag].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    let text = [&aad, "", &rest].join(".");
    let claims = json::parse_object(plaintext.as_bytes(), 32).ok();
    let read = judge(&text);
    if fits(header) && text.len() <= MAX_TOKEN_BYTES {
        assert_eq!(read, claims);
    } else {
        assert_eq!(read, None);
    }
    if let Some(claims) = claims {
        let issued = jwe::issue(&keys().aes, &keys().kid, &claims).expect("an AES key");
        assert!(issued.len() > MAX_TOKEN_BYTES || judge(&issued) == Some(claims));
    }
    let value = jwe::encrypt_value(&keys().aes, &keys().kid, plaintext).expect("an AES key");
    if let Ok(ParsedToken::Jwe(parsed)) = token::parse(&value) {
        assert_eq!(jwe::decrypt_value(&parsed, &keys().aes).as_deref(), Ok(plaintext));
    } else {
        assert!(value.len() > MAX_TOKEN_BYTES);
    }
}

fn fits(header: &str) -> bool {
    json::parse_object(header.as_bytes(), 8).is_ok_and(|header| {
        header.get("alg").is_some_and(|alg| alg == "dir")
            && header.get("enc").is_some_and(|enc| enc == "A256GCM")
            && ["crit", "b64", "zip"].iter().all(|member| !header.contains_key(*member))
    })
}
