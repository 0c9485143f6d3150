//! Every vector of the formats, and the examples of the RFCs behind them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test that can't go on stops"
)]

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use claviger_crypto::{
    TokenError,
    claims::{self, ClaimsError, Expectation},
    fernet::{self, FernetKey},
    jwe, jwk, jws,
    material::{Material, kid_reveals},
    prepared::PreparedKey,
    secret::SecretBytes,
    token::{self, ParsedToken},
};
use claviger_entity::{KeyType, Kid};
use serde_json::{Map, Value, json};

fn secret(text: &str) -> SecretBytes {
    SecretBytes::new(text.as_bytes().to_vec())
}

fn legacy(key_type: KeyType, text: &str) -> PreparedKey {
    let imported = Material::import_legacy(key_type, &secret(text), None).unwrap();
    PreparedKey::new(key_type, &imported.material.secret).unwrap()
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn parsed_jws(text: &str) -> jws::Parsed<'_> {
    match token::parse(text) {
        Ok(ParsedToken::Jws(parsed)) => parsed,
        Ok(ParsedToken::Jwe(_)) | Err(_) => panic!("not a JWS"),
    }
}

fn parsed_jwe(text: &str) -> jwe::Parsed<'_> {
    match token::parse(text) {
        Ok(ParsedToken::Jwe(parsed)) => parsed,
        Ok(ParsedToken::Jws(_)) | Err(_) => panic!("not a JWE"),
    }
}

#[test]
fn legacy_kids() {
    for (key_type, kid) in [
        (KeyType::Hs256, "D8Nag8KdQlf2B291V1ykSg6LzULsv2rkkLS3PdklYgc"),
        (KeyType::Aes256Gcm, "sxi2MQ1reU9so2avQS0sBOjDalGBgzgdP8ODaoEVxwu"),
        (KeyType::Fernet, "kK8fMhS1MWIwWMbdTSnJseqUosOJssAi9Hin9tauW5s"),
    ] {
        let imported = Material::import_legacy(key_type, &secret("deterministic-secret"), None).unwrap();
        assert_eq!(imported.material.kid.as_str(), kid);
        assert!(!imported.may_produce);
        assert_eq!(imported.alias.expose(), b"xw4ZltniyI2xP4iVybjLK7aGGp99u1KHLHcV1tRuRLK");
    }
}

#[test]
fn a_kid_that_is_the_key_is_never_used() {
    let revealing: Kid = "xw4ZltniyI2xP4iVybjLK7aGGp99u1KHLHcV1tRuRLK".parse().unwrap();
    let imported =
        Material::import_legacy(KeyType::Fernet, &secret("deterministic-secret"), Some(&revealing)).unwrap();
    assert_eq!(imported.material.kid.as_str(), "kK8fMhS1MWIwWMbdTSnJseqUosOJssAi9Hin9tauW5s");
    assert!(kid_reveals(&revealing, imported.material.secret.expose()));

    let bytes = vec![7; 32];
    for kid in [
        hex::encode(&bytes),
        hex::encode_upper(&bytes),
        URL_SAFE_NO_PAD.encode(&bytes),
        claviger_crypto::base62::encode(&bytes),
    ] {
        let refused =
            Material::import_raw(KeyType::Aes256Gcm, bytes.clone().into(), Some(kid.parse().unwrap()));
        assert!(refused.is_err(), "{kid}");
    }
}

const JWS: &str = "eyJhbGciOiJIUzI1NiIsImtpZCI6ImtleTEiLCJ0eXAiOiJKV1QifQ.eyJ1c2VyX2lkIjoiMTIzIiwicm9sZSI6ImFkbWluIiwiaWF0IjoxNzAwMDAwMDAwLCJleHAiOjE3MDAwMDM2MDB9.UEOyZ0BOPUTBddejbVgeBVGailjsJSQgrAe88K2JbJc";

#[test]
fn jws_vector() {
    let key = legacy(KeyType::Hs256, "test_secret_key_1");
    let claims =
        object(json!({"user_id": "123", "role": "admin", "iat": 1_700_000_000, "exp": 1_700_003_600}));
    assert_eq!(jws::issue(&key, &"key1".parse().unwrap(), &claims).unwrap(), JWS);
    let read = jws::verify(&parsed_jws(JWS), &key).unwrap();
    assert_eq!(read, claims);
    let at = |now| Expectation {
        now,
        issuer: "https://us",
        extra_issuers: &[],
        allow_missing_iss: true,
        audience: None,
        required: &[],
        allow_missing_exp: false,
    };
    assert_eq!(claims::check(&read, &at(1_700_003_599)), Ok(()));
    assert_eq!(claims::check(&read, &at(1_700_003_600)), Err(ClaimsError::Expired));
    assert_eq!(claims::check(&read, &at(1_699_999_940)), Ok(()));
    assert!(matches!(claims::check(&read, &at(1_699_999_939)), Err(ClaimsError::Invalid(_))));
}

#[test]
fn jwe_vector() {
    let key = legacy(KeyType::Aes256Gcm, "test_secret_key_1");
    let text = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoia2V5MSJ9..NJs9xezbNx3va7Q1.I7FvCODEX_cnrB7qmAVkxFaNET89ZoEVo9Enp33plE7jeBJObPGPzWLjEg-khlzeggyUa_7u.TmGNAVzMIIl4dbMB5NfyGg";
    let claims = jwe::decrypt(&parsed_jwe(text), &key).unwrap();
    assert_eq!(claims, object(json!({"user_id": "123", "role": "admin", "iat": 1_704_067_200})));
    let ours = jwe::issue(&key, &"key1".parse().unwrap(), &claims).unwrap();
    assert_eq!(ours.split('.').next(), text.split('.').next());
    assert_eq!(jwe::decrypt(&parsed_jwe(&ours), &key).unwrap(), claims);
    let value = jwe::encrypt_value(&key, &"key1".parse().unwrap(), "hé").unwrap();
    assert_eq!(jwe::decrypt_value(&parsed_jwe(&value), &key).unwrap(), "hé");
    assert!(jwe::decrypt_value(&parsed_jwe(text), &key).is_err());
}

#[test]
fn fernet_vector_and_helpers() {
    let imported = Material::import_legacy(KeyType::Fernet, &secret("test_secret"), None).unwrap();
    let key = FernetKey::new(&imported.material.secret).unwrap();
    let iv: [u8; 16] = std::array::from_fn(|index| u8::try_from(index).unwrap());
    let text = "gAAAAABlU_EAAAECAwQFBgcICQoLDA0OD4x1QbhbxTxCvggQDuMNOs4OV_q4t824s-W-kYw1CvxS4Cch48f-jqrvzJ5dLRVNbg==";
    assert_eq!(key.encrypt_with(&iv, b"hello", 1_700_000_000).unwrap(), text);
    assert_eq!(fernet::decrypt_text(&key, text).unwrap(), "hello");
    let wrapped = base64::engine::general_purpose::STANDARD.encode(text);
    assert_eq!(fernet::decrypt_text(&key, &wrapped).unwrap(), "hello");
    let payload = json!({"a": [1, null, "x"]});
    let sealed = fernet::encrypt_json(&key, &payload, 1).unwrap();
    assert_eq!(fernet::decrypt_json(&key, &sealed).unwrap(), payload);
    let future = fernet::encrypt_text(&key, "later", u64::MAX).unwrap();
    assert_eq!(fernet::decrypt_text(&key, &future).unwrap(), "later");
    assert!(fernet::decrypt_text(&key, &text.replace("gAAAAA", "gAAAAB")).is_err());
    assert!(fernet::decrypt_json(&key, text).is_err());
}

/// RFC 7515 appendix A.1.
#[test]
fn rfc_7515_hs256() {
    let key = URL_SAFE_NO_PAD
        .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
        .unwrap();
    let key = PreparedKey::new(KeyType::Hs256, &key.into()).unwrap();
    let text = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    assert_eq!(jws::verify(&parsed_jws(text), &key).unwrap()["iss"], "joe");
}

/// RFC 8037 appendix A.1, A.3 and A.4.
#[test]
fn rfc_8037_ed25519() {
    let seed = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
    let der = [hex::decode("302e020100300506032b657004220420").unwrap(), seed].concat();
    let pem = pem::encode(&pem::Pem::new("PRIVATE KEY", der));
    let material = Material::import_pem(KeyType::Eddsa, &pem, None).unwrap();
    assert_eq!(material.kid.as_str(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    let spki = material.public_spki.unwrap();
    let public = jwk::public_jwk(KeyType::Eddsa, &spki, &material.kid).unwrap();
    assert_eq!(public["x"], "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    assert_eq!((public["kty"].as_str(), public["crv"].as_str()), (Some("OKP"), Some("Ed25519")));
    assert!(public.get("d").is_none());
    let key = PreparedKey::new(KeyType::Eddsa, &material.secret).unwrap();
    let input = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert_eq!(URL_SAFE_NO_PAD.encode(key.sign(input.as_bytes()).unwrap()), signature);
}

/// RFC 7638 §3.1, whose key is RFC 7517 appendix A.1's.
#[test]
fn rfc_7638_thumbprint_of_the_rfc_7517_key() {
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    let components = aws_lc_rs::signature::RsaPublicKeyComponents {
        n: URL_SAFE_NO_PAD.decode(n).unwrap(),
        e: vec![1, 0, 1],
    };
    use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
    let spki = AsDer::<PublicKeyX509Der<'_>>::as_der(&components).unwrap();
    let kid = jwk::thumbprint(KeyType::Rs256, spki.as_ref()).unwrap();
    assert_eq!(kid.as_str(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    let public = jwk::public_jwk(KeyType::Rs256, spki.as_ref(), &kid).unwrap();
    assert_eq!((public["n"].as_str(), public["e"].as_str()), (Some(n), Some("AQAB")));
}

/// RFC 7515 appendix A.3: a public key that verifies somebody else's ES256 signature, and refuses it once bent.
#[test]
fn rfc_7515_es256() {
    let input = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    let d = URL_SAFE_NO_PAD.decode("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI").unwrap();
    let x = URL_SAFE_NO_PAD.decode("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU").unwrap();
    let y = URL_SAFE_NO_PAD.decode("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0").unwrap();
    let head =
        hex::decode("308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420").unwrap();
    let der = [head, d, hex::decode("a14403420004").unwrap(), x, y].concat();
    let material =
        Material::import_pem(KeyType::Es256, &pem::encode(&pem::Pem::new("PRIVATE KEY", der)), None).unwrap();
    let key = PreparedKey::new(KeyType::Es256, &material.secret).unwrap();
    let text = format!("{input}.{signature}");
    assert_eq!(jws::verify(&parsed_jws(&text), &key).unwrap()["iss"], "joe");
    let bent = text.replace("DtEh", "DtEi");
    assert_eq!(jws::verify(&parsed_jws(&bent), &key), Err(TokenError::SignatureInvalid));
}

/// RFC 7516 appendix A.1.4 to A.1.6: content encryption with A256GCM.
#[test]
fn rfc_7516_a256gcm() {
    let key = [
        177, 161, 244, 128, 84, 143, 225, 115, 63, 180, 3, 255, 107, 154, 212, 246, 138, 7, 110, 91, 112, 46,
        34, 105, 47, 130, 203, 46, 122, 234, 64, 252,
    ];
    let iv = [227, 197, 117, 252, 2, 219, 233, 68, 180, 225, 77, 219];
    let aad = b"eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ";
    let plaintext = b"The true sign of intelligence is not knowledge but imagination.";
    let aead =
        claviger_crypto::aead::Aead::new(&key.to_vec().into()).unwrap_or_else(|error| panic!("{error}"));
    let sealed = aead.seal_with(&iv, aad, plaintext).unwrap();
    let (ciphertext, tag) = sealed.split_at(plaintext.len());
    assert_eq!(
        URL_SAFE_NO_PAD.encode(ciphertext),
        "5eym8TW_c8SuK0ltJ3rpYIzOeDQz7TALvtu6UG9oMo4vpzs9tX_EFShS8iB7j6jiSdiwkIr3ajwQzaBtQD_A"
    );
    assert_eq!(URL_SAFE_NO_PAD.encode(tag), "XFBoMYUZodetZdvTiFvSkQ");
}
