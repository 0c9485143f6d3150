//! Signatures, checked with nothing but the public key.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use claviger_crypto::public::PublicKey;
use claviger_entity::KeyType;

/// What stands before the 32 bytes of an Ed25519 key in its SPKI (RFC 8410 §4).
const ED25519_SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// SPKI of a PEM.
pub(crate) fn of_pem(pem: &str) -> Vec<u8> {
    let text: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(text).unwrap()
}

/// SPKI of bare bytes in base64.
pub(crate) fn of_ed25519(text: &str) -> Vec<u8> {
    [&ED25519_SPKI[..], &STANDARD.decode(text).unwrap()].concat()
}

/// A signature fits an input, which is given in base64.
pub(crate) fn check(key_type: KeyType, spki: &[u8], input: &str, signature: &[u8]) {
    let public = PublicKey::from_spki(key_type, spki).unwrap();
    assert!(public.verify(&STANDARD.decode(input).unwrap(), signature), "a wrong {key_type} signature");
}
