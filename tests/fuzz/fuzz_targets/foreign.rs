//! Keys and tokens of issuers elsewhere. Input is a token, or, with more than one line: a JWK set on the first, a header on the second and claims on
//! the rest, which the target signs itself, so that what lies behind a right signature is reached too.

#![no_main]

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use claviger_crypto::{
    foreign::{ForeignKey, ForeignToken, KeySetError, MAX_KEYS, key_set},
    json,
    token::MAX_TOKEN_BYTES,
};
use claviger_fuzz::{
    bounded,
    keys::{self, keys},
};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value, json};

/// RFC 8037 appendix A.2.
const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

fuzz_target!(init: keys::prepare(), |data: &[u8]| bounded(|| run(data)));

fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match text.split_once('\n') {
        None => shown(text),
        Some((set, token)) => {
            listed(set);
            if let Some((header, claims)) = token.split_once('\n') {
                signed(header, claims);
            }
        }
    }
}

/// Whatever is read is bounded, has three segments, and says whose it is and by which key.
fn shown(text: &str) {
    let Ok(token) = ForeignToken::parse(text) else { return };
    assert!(text.len() <= MAX_TOKEN_BYTES && text.split('.').count() == 3);
    assert!(
        (1..=256).contains(&token.kid().len()) && token.kid().bytes().all(|byte| byte.is_ascii_graphic())
    );
    let issuer = token.issuer().to_owned();
    // Nobody has signed it by this key, unless it is the token of the corpus.
    if let Ok(claims) = token.verify(&own().public) {
        assert_eq!(claims.get("iss").and_then(Value::as_str), Some(issuer.as_str()));
    }
}

/// Keys that are accepted verify, each for one algorithm and under one name; what could sign is not among them.
fn listed(set: &str) {
    let Ok(set) = json::parse_object(set.as_bytes(), 8) else { return };
    let found = match key_set(&set) {
        Ok(found) => found,
        Err(KeySetError::Malformed | KeySetError::TooMany | KeySetError::DuplicateKid) => return,
    };
    let given = set.get("keys").and_then(Value::as_array).expect("a list");
    assert!(found.len() <= given.len() && given.len() <= MAX_KEYS);
    for (index, key) in found.iter().enumerate() {
        assert!(found.iter().skip(index + 1).all(|other| other.kid != key.kid));
        assert!(key.public.key_type().is_asymmetric());
        let of = |jwk: &&Value| jwk.get("kid").and_then(Value::as_str) == Some(&key.kid);
        let jwk = given.iter().filter(of).filter_map(Value::as_object);
        assert!(jwk.into_iter().any(|jwk| !jwk.contains_key("d") && !jwk.contains_key("k")));
    }
}

/// Under a right signature, what is accepted depends on header and claims alone.
fn signed(header: &str, payload: &str) {
    let input = [URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload)].join(".");
    let signature = keys().eddsa.sign(input.as_bytes()).expect("eddsa signs");
    let text = [input, URL_SAFE_NO_PAD.encode(signature)].join(".");
    let read = ForeignToken::parse(&text).ok().and_then(|token| token.verify(&own().public).ok());
    let claims = json::parse_object(payload.as_bytes(), 32).ok();
    let is_ours = |claims: &Map<String, Value>| claims.get("iss").is_some_and(Value::is_string);
    let expected = claims.filter(is_ours).filter(|_| fits(header) && text.len() <= MAX_TOKEN_BYTES);
    assert_eq!(read, expected);
}

fn fits(header: &str) -> bool {
    json::parse_object(header.as_bytes(), 8).is_ok_and(|header| {
        let text = |name: &str| header.get(name).and_then(Value::as_str);
        let kid =
            |kid: &str| (1..=256).contains(&kid.len()) && kid.bytes().all(|byte| byte.is_ascii_graphic());
        let typ = |typ: &str| {
            let typ = typ.to_ascii_lowercase();
            ["jwt", "at+jwt", "application/jwt", "application/at+jwt"].contains(&typ.as_str())
        };
        text("alg") == Some("EdDSA")
            && text("kid").is_some_and(kid)
            && (!header.contains_key("typ") || text("typ").is_some_and(typ))
            && ["crit", "b64", "zip"].iter().all(|member| !header.contains_key(*member))
    })
}

/// The key that signs here, as its issuer publishes it.
fn own() -> &'static ForeignKey {
    static OWN: LazyLock<ForeignKey> = LazyLock::new(|| {
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "kid": "key1", "x": X});
        let set = json!({ "keys": [jwk] });
        key_set(set.as_object().expect("a set")).expect("a key of the RFC").remove(0)
    });
    &OWN
}
