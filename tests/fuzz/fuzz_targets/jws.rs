//! Signed tokens. Input is a token, or a header and claims on the lines after it, which the target signs itself: no fuzzer guesses a
//! signature, and what lies behind it must be reached too.

#![no_main]

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use claviger_crypto::{
    claims::{self, Expectation},
    digest, json, jws,
    jws::KidClaim,
    prepared::PreparedKey,
    token::{self, MAX_TOKEN_BYTES, ParsedToken},
};
use claviger_fuzz::{
    bounded,
    keys::{self, SECRET, keys},
};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

const NOW: i64 = 1_700_000_000;
const ISSUER: &str = "https://us";

fuzz_target!(init: keys::prepare(), |data: &[u8]| bounded(|| run(data)));

fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match text.split_once('\n') {
        Some((header, claims)) => signed(header, claims),
        None => {
            for (algorithm, key) in
                [("HS256", &keys().hs256), ("ES256", &keys().es256), ("EdDSA", &keys().eddsa)]
            {
                if let Some(claims) = judge(text, key) {
                    has_a_signature(text, algorithm, key);
                    dated(&claims);
                }
            }
        }
    }
}

fn judge(text: &str, key: &PreparedKey) -> Option<Map<String, Value>> {
    match token::parse(text).ok()? {
        ParsedToken::Jws(parsed) => jws::verify(&parsed, key).ok(),
        ParsedToken::Jwe(_) => None,
    }
}

/// Accepted by a verifier must mean: the header names its algorithm, and the signature is over the very bytes before it.
fn has_a_signature(text: &str, algorithm: &str, key: &PreparedKey) {
    let (input, signature) = text.rsplit_once('.').expect("a signature");
    let (header, _) = input.split_once('.').expect("a header");
    let header: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).expect("base64")).expect("JSON");
    assert_eq!(header["alg"], algorithm);
    let read = URL_SAFE_NO_PAD.decode(signature).expect("base64");
    assert_eq!(URL_SAFE_NO_PAD.encode(&read), signature, "a signature has one text");
    match algorithm {
        "HS256" => assert_eq!(digest::hmac_sha256(SECRET, &[input.as_bytes()]), *read),
        "EdDSA" => assert_eq!(key.sign(input.as_bytes()).as_ref(), Ok(&read)),
        _ => assert!(read.len() == 64 && key.verify(input.as_bytes(), &read)),
    }
}

/// Under a right signature, what is accepted depends on header and claims alone.
fn signed(header: &str, payload: &str) {
    let key = &keys().hs256;
    let mut text = [URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload)].join(".");
    let signature = key.sign(text.as_bytes()).expect("hs256 signs");
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut text);
    let claims = json::parse_object(payload.as_bytes(), 32).ok();
    let read = judge(&text, key);
    if fits(header) && text.len() <= MAX_TOKEN_BYTES {
        assert_eq!(read, claims);
    } else {
        assert_eq!(read, None);
    }
    if let Some(claims) = claims {
        dated(&claims);
        issued(key, &claims);
    }
}

fn fits(header: &str) -> bool {
    json::parse_object(header.as_bytes(), 8).is_ok_and(|header| {
        header.get("alg").is_some_and(|alg| alg == "HS256")
            && ["crit", "b64", "zip"].iter().all(|member| !header.contains_key(*member))
    })
}

/// What was issued reads back.
fn issued(key: &PreparedKey, claims: &Map<String, Value>) {
    let text = jws::issue(key, &keys().kid, claims).expect("hs256 signs");
    if text.len() <= MAX_TOKEN_BYTES {
        let parsed = token::parse(&text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(*parsed.kid(), KidClaim::Named(keys().kid.clone()));
        assert_eq!(judge(&text, key).as_ref(), Some(claims));
    }
}

/// Claims that pass are in time, and ours.
fn dated(claims: &Map<String, Value>) {
    let expected = Expectation {
        now: NOW,
        issuer: ISSUER,
        extra_issuers: &[],
        allow_missing_iss: true,
        audience: None,
        required: &[],
        allow_missing_exp: false,
    };
    if claims::check(claims, &expected).is_ok() {
        let seconds = |name: &str| claims.get(name).map(|at| at.as_f64().expect("a number"));
        assert!(seconds("exp").is_some_and(|exp| exp > 1_700_000_000.0));
        assert!(["iat", "nbf"].iter().filter_map(|name| seconds(name)).all(|at| at <= 1_700_000_060.0));
        assert!(claims.get("iss").is_none_or(|iss| iss == ISSUER));
        assert!(!claims.contains_key("aud"));
        let other = Expectation { required: &["sub".to_owned()], ..expected };
        assert_eq!(claims::check(claims, &other).is_ok(), claims.contains_key("sub"));
    }
}
