//! Fernet tokens: as a token, as a token wrapped once more, as what follows a right MAC, and as a plaintext.

#![no_main]

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use claviger_crypto::{
    digest,
    fernet::{self, FernetKey},
    json,
};
use claviger_fuzz::{
    bounded,
    keys::{self, keys},
};
use libfuzzer_sys::fuzz_target;

const IV: [u8; 16] = [7; 16];
const NOW: u64 = 1_700_000_000;

fuzz_target!(init: keys::prepare(), |data: &[u8]| bounded(|| run(data)));

fn run(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        token(text);
    }
    authentic(data);
    plaintext(data);
}

fn key() -> &'static FernetKey {
    keys().fernet.fernet().expect("a Fernet key")
}

fn token(text: &str) {
    let strict = key().decrypt(text);
    if let Ok(plaintext) = &strict {
        is_canonical(text, plaintext.expose());
    }
    let lenient = key().decrypt_lenient(text);
    assert!(lenient.is_ok() || strict.is_err(), "lenient refuses what strict accepts");
    if let (Ok(plaintext), Err(_)) = (lenient, strict) {
        let inner = URL_SAFE.decode(text).or_else(|_| base64::prelude::BASE64_STANDARD.decode(text));
        let inner = String::from_utf8(inner.expect("base64")).expect("a token");
        is_canonical(&inner, plaintext.expose());
    }
    let _ = fernet::decrypt_text(key(), text);
    let _ = fernet::decrypt_json(key(), text);
}

/// A plaintext, a time and an IV have one token.
fn is_canonical(text: &str, plaintext: &[u8]) {
    let bytes = URL_SAFE.decode(text).expect("base64");
    let (head, _) = bytes.split_first_chunk::<25>().expect("a header");
    let now = u64::from_be_bytes(*head[1..].first_chunk().expect("eight bytes"));
    let iv = head.last_chunk().expect("an IV");
    assert_eq!(key().encrypt_with(iv, plaintext, now).as_deref(), Ok(text));
}

/// Whatever stands under a right MAC: version, time, IV, padding. The signing half of the secret is the first of SHA-256.
fn authentic(data: &[u8]) {
    let secret = digest::sha256(b"test_secret");
    let mac = digest::hmac_sha256(&secret[..16], &[data]);
    token(&URL_SAFE.encode([data, &mac].concat()));
}

fn plaintext(data: &[u8]) {
    let text = key().encrypt_with(&IV, data, NOW).expect("any plaintext");
    assert!(key().decrypt(&text).is_ok_and(|read| read.expose() == data));
    let wrapped = base64::prelude::BASE64_STANDARD.encode(&text);
    assert!(key().decrypt_lenient(&wrapped).is_ok_and(|read| read.expose() == data));
    assert_eq!(fernet::decrypt_text(key(), &text).ok().as_deref(), std::str::from_utf8(data).ok());
    assert_eq!(fernet::decrypt_json(key(), &text).ok(), json::parse(data, 64).ok());
}
