//! One test for each known attack on JOSE, against the very functions that the service uses.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test that can't go on stops"
)]

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use claviger_crypto::{
    TokenError, ciphertext, jwe,
    jws::{self, KidClaim},
    material::Material,
    prepared::{PreparedKey, SignatureEncoding},
    token::{self, ParsedToken},
};
use claviger_entity::{KeyType, Kid};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

struct Made {
    kid: Kid,
    spki: Option<Vec<u8>>,
    key: PreparedKey,
}

fn make(key_type: KeyType) -> Made {
    let material = Material::generate(key_type, None).unwrap();
    Made {
        key: PreparedKey::new(key_type, &material.secret).unwrap(),
        kid: material.kid,
        spki: material.public_spki,
    }
}

static KEYS: LazyLock<Vec<(KeyType, Made)>> =
    LazyLock::new(|| KeyType::ALL.iter().map(|&key_type| (key_type, make(key_type))).collect());

fn key(wanted: KeyType) -> &'static Made {
    &KEYS.iter().find(|(key_type, _)| *key_type == wanted).unwrap().1
}

fn claims() -> Map<String, Value> {
    json!({"sub": "alice", "exp": 4_000_000_000_u64}).as_object().unwrap().clone()
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token with any header, rightly signed.
fn signed(made: &Made, header: &str) -> String {
    let input = format!("{}.{}", encode(header), encode(serde_json::to_vec(&claims()).unwrap()));
    format!("{input}.{}", encode(made.key.sign(input.as_bytes()).unwrap()))
}

fn judge(text: &str, made: &Made) -> Result<Map<String, Value>, TokenError> {
    match token::parse(text)? {
        ParsedToken::Jws(parsed) => jws::verify(&parsed, &made.key),
        ParsedToken::Jwe(parsed) => jwe::decrypt(&parsed, &made.key),
    }
}

fn is_malformed(text: &str, made: &Made) -> bool {
    matches!(judge(text, made), Err(TokenError::Malformed(_)))
}

#[test]
fn alg_none() {
    let payload = encode(serde_json::to_vec(&claims()).unwrap());
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let text = format!("{}.{payload}.", encode(format!(r#"{{"alg":"{alg}","kid":"k"}}"#)));
        assert_eq!(judge(&text, key(KeyType::Hs256)), Err(TokenError::SignatureInvalid), "{alg}");
    }
}

#[test]
fn rs_to_hs_confusion() {
    let rsa = key(KeyType::Rs256);
    let pem = claviger_crypto::jwk::public_pem(rsa.spki.as_ref().unwrap());
    for secret in [pem.into_bytes(), rsa.spki.clone().unwrap()] {
        let hmac = PreparedKey::new(KeyType::Hs256, &secret.into()).unwrap();
        let forged = jws::issue(&hmac, &rsa.kid, &claims()).unwrap();
        assert_eq!(judge(&forged, rsa), Err(TokenError::SignatureInvalid));
    }
    let pss = signed(rsa, r#"{"alg":"PS256","kid":"k"}"#);
    assert_eq!(judge(&pss, rsa), Err(TokenError::SignatureInvalid));
}

#[test]
fn embedded_jwk_jku_x5u_and_x5c_are_not_believed() {
    let (ours, theirs) = (key(KeyType::Es256), make(KeyType::Es256));
    let jwk =
        claviger_crypto::jwk::public_jwk(KeyType::Es256, theirs.spki.as_ref().unwrap(), &theirs.kid).unwrap();
    for member in [
        format!(r#""jwk":{jwk}"#),
        r#""jku":"https://evil.example/jwks.json""#.to_owned(),
        r#""x5u":"https://evil.example/cert.pem""#.to_owned(),
        r#""x5c":["MIIB"]"#.to_owned(),
    ] {
        let header = format!(r#"{{"alg":"ES256","kid":"{}",{member}}}"#, ours.kid);
        assert_eq!(judge(&signed(&theirs, &header), ours), Err(TokenError::SignatureInvalid), "{member}");
    }
}

#[test]
fn unknown_crit() {
    let made = key(KeyType::Hs256);
    assert!(is_malformed(&signed(made, r#"{"alg":"HS256","kid":"k","crit":["exp"],"exp":1}"#), made));
    assert!(is_malformed(&signed(made, r#"{"alg":"HS256","kid":"k","crit":[]}"#), made));
}

#[test]
fn b64_false() {
    let made = key(KeyType::Hs256);
    assert!(is_malformed(&signed(made, r#"{"alg":"HS256","kid":"k","b64":false}"#), made));
}

#[test]
fn zip_def() {
    let made = key(KeyType::Hs256);
    assert!(is_malformed(&signed(made, r#"{"alg":"HS256","kid":"k","zip":"DEF"}"#), made));
    let aes = key(KeyType::Aes256Gcm);
    let text = jwe::issue(&aes.key, &aes.kid, &claims()).unwrap();
    let (_, rest) = text.split_once('.').unwrap();
    assert!(is_malformed(
        &format!("{}.{rest}", encode(r#"{"alg":"dir","enc":"A256GCM","kid":"k","zip":"DEF"}"#)),
        aes
    ));
}

#[test]
fn non_empty_encrypted_key() {
    let aes = key(KeyType::Aes256Gcm);
    let text = jwe::issue(&aes.key, &aes.kid, &claims()).unwrap();
    assert!(is_malformed(&text.replacen("..", ".AAAA.", 1), aes));
}

#[test]
fn other_jwe_algorithms() {
    let aes = key(KeyType::Aes256Gcm);
    let text = jwe::issue(&aes.key, &aes.kid, &claims()).unwrap();
    let (_, rest) = text.split_once('.').unwrap();
    for (alg, enc) in
        [("dir", "A128GCM"), ("dir", "A256CBC-HS512"), ("RSA-OAEP", "A256GCM"), ("none", "none")]
    {
        let header = encode(format!(r#"{{"alg":"{alg}","enc":"{enc}","kid":"k"}}"#));
        assert_eq!(judge(&format!("{header}.{rest}"), aes), Err(TokenError::SignatureInvalid), "{alg} {enc}");
    }
}

#[test]
fn short_tag() {
    let aes = key(KeyType::Aes256Gcm);
    let text = jwe::issue(&aes.key, &aes.kid, &claims()).unwrap();
    let (rest, tag) = text.rsplit_once('.').unwrap();
    let tag = URL_SAFE_NO_PAD.decode(tag).unwrap();
    for length in 0..16 {
        assert!(is_malformed(&format!("{rest}.{}", encode(&tag[..length])), aes), "{length}");
    }
}

#[test]
fn duplicate_members() {
    let made = key(KeyType::Hs256);
    assert!(is_malformed(&signed(made, r#"{"alg":"none","alg":"HS256","kid":"k"}"#), made));
    assert!(is_malformed(&signed(made, r#"{"alg":"HS256","kid":"k","kid":"j"}"#), made));
    let input = format!("{}.{}", encode(r#"{"alg":"HS256","kid":"k"}"#), encode(r#"{"sub":"a","sub":"b"}"#));
    let text = format!("{input}.{}", encode(made.key.sign(input.as_bytes()).unwrap()));
    assert!(is_malformed(&text, made));
}

/// A number that changes when it is written and read is two numbers to two parsers. Integers that fit no machine word become such
/// numbers.
#[test]
fn numbers_that_parsers_round_differently() {
    let made = key(KeyType::Hs256);
    for number in ["1.2345678901234567e-301", "-9.223372036845773e+33", "9223372036854775807999", "5e-324"] {
        let payload = format!(r#"{{"n":{number}}}"#);
        let input = format!("{}.{}", encode(r#"{"alg":"HS256","kid":"k"}"#), encode(payload));
        let text = format!("{input}.{}", encode(made.key.sign(input.as_bytes()).unwrap()));
        let read = judge(&text, made).unwrap();
        assert_eq!(read["n"].as_f64(), number.parse::<f64>().ok(), "{number}");
        let again = jws::issue(&made.key, &made.kid, &read).unwrap();
        assert_eq!(judge(&again, made).unwrap(), read, "{number}");
    }
}

#[test]
fn more_than_one_key_in_a_pem() {
    let one = |key_type| Material::generate(key_type, None).unwrap().secret.expose().to_vec();
    for key_type in [KeyType::Rs256, KeyType::Es256, KeyType::Eddsa] {
        let (der, other) = (one(key_type), one(key_type));
        let pem = |der: &[u8]| pem::encode(&pem::Pem::new("PRIVATE KEY", der));
        let refused = |text: &str| Material::import_pem(key_type, text, None).is_err();
        assert!(!refused(&pem(&der)) && !refused(&format!("a comment\n{}", pem(&der))), "{key_type}");
        assert!(refused(&[pem(&der), pem(&other)].concat()), "{key_type} twice");
        assert!(refused(&pem(&[&der[..], &[0]].concat())), "{key_type} with a tail");
        assert!(refused(&pem(&[der, other].concat())), "{key_type} with another behind it");
    }
}

#[test]
fn ecdsa_zero_r_or_s() {
    for (key_type, half) in [(KeyType::Es256, 32), (KeyType::Es384, 48)] {
        let made = key(key_type);
        let good = made.key.sign(b"m").unwrap();
        let zero = vec![0; half];
        for forged in [
            [&zero[..], &zero].concat(),
            [&zero[..], &good[half..]].concat(),
            [&good[..half], &zero].concat(),
        ] {
            assert!(!made.key.verify(b"m", &forged));
            assert!(!made.key.verify_raw(b"m", &forged, false, SignatureEncoding::Jose).unwrap());
        }
        for der in ["3006020100020100", "3006020100020101", "3006020101020100"] {
            assert!(
                !made
                    .key
                    .verify_raw(b"m", &hex::decode(der).unwrap(), false, SignatureEncoding::Der)
                    .unwrap()
            );
        }
    }
}

#[test]
fn oversized_or_pathlike_kid() {
    let made = key(KeyType::Hs256);
    let long = "k".repeat(10_000);
    for kid in [long.as_str(), "../../etc/passwd", "/dev/null", "a b", "' OR 1=1 --", "\\u0000", ""] {
        let text = signed(made, &format!(r#"{{"alg":"HS256","kid":"{}"}}"#, kid.replace('\\', "\\\\")));
        let parsed = token::parse(&text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(*parsed.kid(), KidClaim::Foreign, "{kid}");
    }
    let number = signed(made, r#"{"alg":"HS256","kid":7}"#);
    assert_eq!(*token::parse(&number).unwrap_or_else(|error| panic!("{error}")).kid(), KidClaim::Foreign);
}

#[test]
fn tokens_have_three_or_five_segments_of_strict_base64url() {
    let made = key(KeyType::Hs256);
    let good = jws::issue(&made.key, &made.kid, &claims()).unwrap();
    for bad in [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c.d",
        "a.b.c.d.e.f",
        "....",
        "=.=.=",
        &format!("{good}="),
        &format!(" {good}"),
        &format!("{good}\n"),
    ] {
        assert!(is_malformed(bad, made), "{bad:?}");
    }
    assert!(is_malformed(&"a".repeat(70_000), made));
}

#[test]
fn raw_signatures_in_every_encoding() {
    use aws_lc_rs::digest;
    for (key_type, made) in KEYS.iter().filter(|(key_type, _)| key_type.is_asymmetric()) {
        let hash = match key_type {
            KeyType::Rs256 | KeyType::Ps256 | KeyType::Es256 => Some(&digest::SHA256),
            KeyType::Rs384 | KeyType::Ps384 | KeyType::Es384 => Some(&digest::SHA384),
            KeyType::Rs512 | KeyType::Ps512 => Some(&digest::SHA512),
            _ => None,
        };
        let signature = made.key.sign_raw(b"m", false, SignatureEncoding::Jose).unwrap();
        assert!(made.key.verify_raw(b"m", &signature, false, SignatureEncoding::Jose).unwrap());
        assert!(!made.key.verify_raw(b"n", &signature, false, SignatureEncoding::Jose).unwrap());
        match hash {
            Some(hash) => {
                let input = digest::digest(hash, b"m");
                let prehashed = made.key.sign_raw(input.as_ref(), true, SignatureEncoding::Jose).unwrap();
                assert!(
                    made.key.verify_raw(b"m", &prehashed, false, SignatureEncoding::Jose).unwrap(),
                    "{key_type}"
                );
                assert!(
                    made.key.verify_raw(input.as_ref(), &signature, true, SignatureEncoding::Jose).unwrap()
                );
                assert!(made.key.sign_raw(b"short", true, SignatureEncoding::Jose).is_err());
            }
            None => assert!(made.key.sign_raw(&[0; 32], true, SignatureEncoding::Jose).is_err()),
        }
        let der = made.key.sign_raw(b"m", false, SignatureEncoding::Der);
        match der {
            Ok(der) => assert!(made.key.verify_raw(b"m", &der, false, SignatureEncoding::Der).unwrap()),
            Err(_) => assert!(!matches!(key_type, KeyType::Es256 | KeyType::Es384)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_issued_verifies_and_no_flipped_byte_does(index in 0usize..15, at in any::<prop::sample::Index>(), bit in 0u8..6) {
        let (key_type, made) = &KEYS[index];
        let text = match key_type {
            KeyType::Aes256Gcm => jwe::issue(&made.key, &made.kid, &claims()).unwrap(),
            KeyType::Fernet => return Ok(()),
            _ => jws::issue(&made.key, &made.kid, &claims()).unwrap(),
        };
        prop_assert_eq!(judge(&text, made).unwrap(), claims());
        let mut bytes = text.clone().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(bent) = String::from_utf8(bytes) {
            prop_assert!(judge(&bent, made).is_err(), "{}", at);
        }
    }

    #[test]
    fn ciphertexts_open_under_their_context_only(plaintext in proptest::collection::vec(any::<u8>(), 0..200), context in ".{0,20}", other in ".{0,20}") {
        let made = key(KeyType::Aes256Gcm);
        let text = ciphertext::encrypt(&made.key, &made.kid, &plaintext, &context).unwrap();
        let parsed = ciphertext::parse(&text).unwrap_or_else(|error| panic!("{error}"));
        prop_assert!(ciphertext::decrypt(&parsed, &made.key, &context).is_ok_and(|read| read.expose() == plaintext));
        prop_assert_eq!(ciphertext::decrypt(&parsed, &made.key, &other).is_ok(), other == context);
    }

    #[test]
    fn parsers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in "[A-Za-z0-9_.:=-]{0,120}") {
        for input in [String::from_utf8_lossy(&bytes).into_owned(), text] {
            let _ = token::parse(&input).map(|_| ());
            let _ = ciphertext::parse(&input).map(|_| ());
            let _ = key(KeyType::Fernet).key.fernet().unwrap().decrypt_lenient(&input).map(|_| ());
            let _ = Material::import_pem(KeyType::Rs256, &input, None).map(|_| ());
        }
    }
}
