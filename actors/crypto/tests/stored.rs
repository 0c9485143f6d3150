//! Stored texts in every format that there has been.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on stops")]

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use claviger_crypto::{
    CryptoError, jwe,
    material::Material,
    prepared::PreparedKey,
    secret::SecretBytes,
    stored::{self, Format, Keys},
};
use claviger_entity::{KeyType, Kid};

/// The vector of the format: secret `test_secret`, IV 00..0f, time 1700000000, text `hello`.
const FERNET: &str =
    "gAAAAABlU_EAAAECAwQFBgcICQoLDA0OD4x1QbhbxTxCvggQDuMNOs4OV_q4t824s-W-kYw1CvxS4Cch48f-jqrvzJ5dLRVNbg==";

struct Ring {
    aead: Vec<(Kid, PreparedKey)>,
    fernet: Vec<PreparedKey>,
}

type With<'a> = &'a dyn Fn(&PreparedKey) -> Result<SecretBytes, CryptoError>;

impl Keys for Ring {
    fn by_kid(&self, kid: &str, with: With<'_>) -> Result<SecretBytes, CryptoError> {
        let key = self.aead.iter().find(|(known, _)| known.as_str() == kid);
        key.map_or(Err(CryptoError::Refused), |(_, key)| with(key))
    }

    fn fernet(&self, with: With<'_>) -> Result<SecretBytes, CryptoError> {
        self.fernet.iter().find_map(|key| with(key).ok()).ok_or(CryptoError::Refused)
    }
}

fn legacy(key_type: KeyType, text: &str) -> PreparedKey {
    let secret = SecretBytes::new(text.as_bytes().to_vec());
    let imported = Material::import_legacy(key_type, &secret, None).unwrap();
    PreparedKey::new(key_type, &imported.material.secret).unwrap()
}

fn ring() -> Ring {
    Ring {
        aead: ["old", "new"].map(|kid| (kid.parse().unwrap(), legacy(KeyType::Aes256Gcm, kid))).into(),
        // The one that fits is not the first.
        fernet: ["another", "test_secret"].map(|text| legacy(KeyType::Fernet, text)).into(),
    }
}

#[test]
fn every_format_is_read_and_the_present_one_is_written() {
    let ring = ring();
    let (kid, key) = ring.aead.first().unwrap();
    let present = stored::write(key, kid, b"hello", "place").unwrap();
    assert!(present.starts_with("clv:old:"));
    let jwe = jwe::encrypt_value(key, kid, "hello").unwrap();
    for (text, format) in [
        (present.as_str(), Format::Present),
        (jwe.as_str(), Format::Jwe),
        (FERNET, Format::Fernet),
        (&URL_SAFE.encode(FERNET), Format::Fernet),
        (&STANDARD.encode(FERNET), Format::Fernet),
        (&format!("{FERNET}\n"), Format::Fernet),
    ] {
        let (value, found) = stored::read(text, "place", &ring).unwrap();
        assert_eq!((value.expose(), found), (&b"hello"[..], format), "{text}");
    }
    assert!(stored::read(&present, "another place", &ring).is_err());
}

#[test]
fn what_is_none_of_them_is_refused() {
    let ring = ring();
    let (kid, key) = ring.aead.first().unwrap();
    let jwe = jwe::encrypt_value(key, kid, "hello").unwrap();
    let claims = jwe::issue(key, kid, &serde_json::Map::new()).unwrap();
    let elsewhere = jwe::encrypt_value(key, &"other".parse().unwrap(), "hello").unwrap();
    let mistaken = jwe::encrypt_value(key, &"new".parse().unwrap(), "hello").unwrap();
    let cut = &FERNET[..FERNET.len() - 4];
    let (long, dots) = ("x".repeat(stored::TEXT_MAX_BYTES + 1), ".".repeat(100_000));
    for text in [
        "",
        "hello",
        "clv:",
        "clv:old:",
        "clv:old:AAAA",
        "clv:none:AAAA",
        "....",
        ".....",
        &jwe[1..],
        &claims,
        &elsewhere,
        &mistaken,
        cut,
        &long,
        &dots,
    ] {
        assert!(stored::read(text, "", &ring).is_err(), "{}", text.get(..40).unwrap_or(text));
    }
}
