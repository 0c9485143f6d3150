//! Ciphertexts that name their key. Input is a ciphertext, or a context and a plaintext on the lines after it.

#![no_main]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use claviger_crypto::ciphertext;
use claviger_fuzz::{
    bounded,
    keys::{self, keys},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: keys::prepare(), |data: &[u8]| bounded(|| run(data)));

fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match text.split_once('\n') {
        Some((context, plaintext)) => round_trip(context, plaintext.as_bytes()),
        None => judge(text),
    }
}

fn judge(text: &str) {
    let Ok(parsed) = ciphertext::parse(text) else { return };
    let prefix = format!("clv:{}:", parsed.kid);
    let sealed = text.strip_prefix(&prefix).expect("a ciphertext begins with its kid");
    let sealed = STANDARD.decode(sealed).expect("base64");
    assert_eq!([prefix.as_str(), &STANDARD.encode(&sealed)].concat(), text, "a ciphertext has one text");
    for context in ["", "order 7"] {
        let opened = ciphertext::decrypt(&parsed, &keys().aes, context);
        let aead = keys().aes.aead().expect("an AES key");
        let again = aead.open([&prefix, context].concat().as_bytes(), &sealed);
        assert_eq!(opened.is_ok(), again.is_ok());
    }
    assert!(ciphertext::decrypt(&parsed, &keys().hs256, "").is_err());
}

fn round_trip(context: &str, plaintext: &[u8]) {
    let key = &keys().aes;
    let text = ciphertext::encrypt(key, &keys().kid, plaintext, context).expect("an AES key");
    let parsed = ciphertext::parse(&text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(parsed.kid, keys().kid);
    assert!(ciphertext::decrypt(&parsed, key, context).is_ok_and(|read| read.expose() == plaintext));
    assert!(ciphertext::decrypt(&parsed, key, &[context, "x"].concat()).is_err(), "another context");
    let renamed = text.replacen("clv:key1:", "clv:key2:", 1);
    let renamed = ciphertext::parse(&renamed).unwrap_or_else(|error| panic!("{error}"));
    assert!(ciphertext::decrypt(&renamed, key, context).is_err(), "another kid");
}
