//! Imported material. Input is a byte for the type, one for the way of import, one for the length of a `kid`, the `kid` and the
//! material. Each byte counts from `a`. The private keys of the corpus were made for it and are used nowhere.

#![no_main]

use claviger_crypto::{
    jwk,
    material::{Material, kid_reveals},
    prepared::PreparedKey,
    public::PublicKey,
    secret::SecretBytes,
};
use claviger_entity::{KeyType, Kid};
use claviger_fuzz::{bounded, keys};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: keys::prepare(), |data: &[u8]| bounded(|| run(data)));

fn run(data: &[u8]) {
    let Some(([key_type, way, length], rest)) = data.split_first_chunk() else { return };
    let key_type = KeyType::ALL[usize::from(key_type.wrapping_sub(b'a')) % KeyType::ALL.len()];
    let length = usize::from(length.wrapping_sub(b'a')).min(rest.len());
    let (kid, material) = rest.split_at(length);
    let kid = match std::str::from_utf8(kid).map(str::parse::<Kid>) {
        Ok(Ok(kid)) => Some(is_safe(kid)),
        Ok(Err(_)) | Err(_) => None,
    };
    let secret = SecretBytes::new(material.to_vec());
    let imported = match way.wrapping_sub(b'a') % 3 {
        0 => Material::import_raw(key_type, secret, kid.clone()),
        1 => match std::str::from_utf8(material) {
            Ok(text) => Material::import_pem(key_type, text, kid.clone()).inspect(|_| is_alone(text)),
            Err(_) => return,
        },
        _ => Material::import_legacy(key_type, &secret, kid.as_ref()).map(|imported| {
            assert_eq!(imported.may_produce, material.len() >= 32);
            assert!(!kid_reveals(&imported.material.kid, imported.alias.expose()));
            imported.material
        }),
    };
    if let Ok(imported) = imported {
        is_usable(key_type, &imported, kid.as_ref());
    }
}

/// One key was given, so that nobody can mean another than the one that was taken.
fn is_alone(text: &str) {
    assert!(pem::parse_many(text).is_ok_and(|found| found.len() == 1), "another PEM beside the key");
}

/// A `kid` goes into headers, ciphertexts and file names as it is.
fn is_safe(kid: Kid) -> Kid {
    let text = kid.as_str();
    assert!((1..=128).contains(&text.len()) && text != "." && text != "..");
    assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte)));
    kid
}

/// What was imported makes a key, under an id that says nothing about it.
fn is_usable(key_type: KeyType, imported: &Material, kid: Option<&Kid>) {
    assert!(!kid_reveals(&imported.kid, imported.secret.expose()));
    if key_type.is_asymmetric() {
        assert!(kid.is_none_or(|kid| *kid == imported.kid));
    }
    let key = PreparedKey::new(key_type, &imported.secret).expect("imported material fits its type");
    assert_eq!(key_type.is_asymmetric(), imported.public_spki.is_some());
    assert_eq!(key_type.is_rsa(), imported.bits.is_some());
    if key_type.algorithm().is_none() {
        return;
    }
    let signature = key.sign(b"m").expect("the type signs");
    assert!(key.verify(b"m", &signature) && !key.verify(b"n", &signature));
    if let Some(spki) = &imported.public_spki {
        let (_, shorter) = imported.secret.expose().split_last().expect("a key is not empty");
        let shorter = SecretBytes::new(shorter.to_vec());
        assert!(PreparedKey::new(key_type, &shorter).is_err(), "something behind the key");
        let public = PublicKey::from_spki(key_type, spki).expect("a public half");
        assert!(public.verify(b"m", &signature));
        assert!(jwk::public_jwk(key_type, spki, &imported.kid).is_ok());
    }
}
