//! Compact JWE (RFC 7516), `dir` with `A256GCM` and nothing else: no encrypted key, no compression, header of exactly `alg`,
//! `enc`, `kid`.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use claviger_entity::Kid;
use serde_json::{Map, Value, json};

use crate::{
    CryptoError, TokenError,
    aead::{NONCE_BYTES, TAG_BYTES},
    json,
    jws::{CLAIMS_DEPTH, KidClaim, decode, header_of, kid_of, text_member},
    prepared::PreparedKey,
    random,
    secret::SecretBytes,
};

/// A token taken apart, nothing of it trusted.
pub struct Parsed<'a> {
    /// Under which key it wants to be decrypted.
    pub kid: KidClaim,
    aad: &'a str,
    iv: [u8; NONCE_BYTES],
    /// Ciphertext ‖ tag.
    ciphertext: Vec<u8>,
}

/// Encrypts claims.
///
/// # Errors
/// The key is not aes256-gcm.
pub fn issue(key: &PreparedKey, kid: &Kid, claims: &Map<String, Value>) -> Result<String, CryptoError> {
    let claims =
        serde_json::to_vec(claims).map_err(|_| CryptoError::Malformed("claims can't be written as JSON"))?;
    encrypt(key, kid, &claims)
}

/// Encrypts a stored value as `{"v": "<text>"}`.
///
/// # Errors
/// The key is not aes256-gcm.
pub fn encrypt_value(key: &PreparedKey, kid: &Kid, text: &str) -> Result<String, CryptoError> {
    let value = SecretBytes::new(json!({ "v": text }).to_string().into_bytes());
    encrypt(key, kid, value.expose())
}

fn encrypt(key: &PreparedKey, kid: &Kid, plaintext: &[u8]) -> Result<String, CryptoError> {
    let aead = key.aead()?;
    let mut iv = [0; NONCE_BYTES];
    random::fill(&mut iv)?;
    let mut token = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"dir","enc":"A256GCM","kid":"{kid}"}}"#));
    let sealed = aead.seal_with(&iv, token.as_bytes(), plaintext)?;
    let (ciphertext, tag) = sealed.split_last_chunk::<TAG_BYTES>().ok_or(CryptoError::Primitive)?;
    token.push_str("..");
    URL_SAFE_NO_PAD.encode_string(iv, &mut token);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(ciphertext, &mut token);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(tag, &mut token);
    Ok(token)
}

/// Takes a token of five segments apart.
pub(crate) fn parse(segments: [&str; 5]) -> Result<Parsed<'_>, TokenError> {
    let [aad, encrypted_key, iv, ciphertext, tag] = segments;
    let header = header_of(aad)?;
    if text_member(&header, "alg")? != Some("dir") || text_member(&header, "enc")? != Some("A256GCM") {
        return Err(TokenError::SignatureInvalid);
    }
    if !encrypted_key.is_empty() {
        return Err(TokenError::Malformed("the encrypted key of a dir token must be empty"));
    }
    let iv = decode(iv)?.try_into().map_err(|_| TokenError::Malformed("the IV must have 12 bytes"))?;
    let mut ciphertext = decode(ciphertext)?;
    let tag: [u8; TAG_BYTES] =
        decode(tag)?.try_into().map_err(|_| TokenError::Malformed("the tag must have 16 bytes"))?;
    ciphertext.extend_from_slice(&tag);
    Ok(Parsed { kid: kid_of(&header), aad, iv, ciphertext })
}

/// The claims.
///
/// # Errors
/// The tag does not fit, or the plaintext is no strict JSON object.
pub fn decrypt(parsed: &Parsed<'_>, key: &PreparedKey) -> Result<Map<String, Value>, TokenError> {
    let aead = key.aead().map_err(|_| TokenError::SignatureInvalid)?;
    let plaintext = aead
        .open_with(&parsed.iv, parsed.aad.as_bytes(), &parsed.ciphertext)
        .map_err(|_| TokenError::SignatureInvalid)?;
    json::parse_object(plaintext.expose(), CLAIMS_DEPTH)
        .map_err(|_| TokenError::Malformed("the claims are no strict JSON object"))
}

/// The text of a stored value.
///
/// # Errors
/// As [`decrypt`], or it is no stored value.
pub fn decrypt_value(parsed: &Parsed<'_>, key: &PreparedKey) -> Result<String, TokenError> {
    match decrypt(parsed, key)?.remove("v") {
        Some(Value::String(text)) => Ok(text),
        Some(_) | None => Err(TokenError::Malformed("the token holds no stored value")),
    }
}
