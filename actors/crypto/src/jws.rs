//! Compact JWS (RFC 7515) with a header of exactly `alg`, `kid`, `typ`.
//!
//! `alg` comes from the key. Of a token's own header nothing is believed but the `kid`, by which the key is looked up; `jwk`, `jku`,
//! `x5u` and `x5c` are not even read, and whatever would change the meaning of the rest (`crit`, `b64`, `zip`) is refused.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use claviger_entity::Kid;
use jsonwebtoken::crypto::{JwtSigner, JwtVerifier};
use serde_json::{Map, Value};

use crate::{CryptoError, TokenError, json, prepared::PreparedKey};

/// Deepest nesting of claims.
pub(crate) const CLAIMS_DEPTH: usize = 32;
/// Deepest nesting of a header.
pub(crate) const HEADER_DEPTH: usize = 8;

/// The `kid` that a token carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KidClaim {
    /// None.
    Absent,
    /// One that can't be ours: too long, a path, not a text.
    Foreign,
    /// One that may be ours.
    Named(Kid),
}

/// A token taken apart, nothing of it trusted.
pub struct Parsed<'a> {
    /// By which key it wants to be verified.
    pub kid: KidClaim,
    algorithm: String,
    signing_input: &'a str,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

/// Signs claims.
///
/// # Errors
/// The key does not sign.
pub fn issue(key: &PreparedKey, kid: &Kid, claims: &Map<String, Value>) -> Result<String, CryptoError> {
    let algorithm = key
        .key_type()
        .algorithm()
        .ok_or(CryptoError::Unsupported("a key of this type does not sign tokens"))?;
    let header = format!(r#"{{"alg":"{algorithm}","kid":"{kid}","typ":"JWT"}}"#);
    let claims =
        serde_json::to_vec(claims).map_err(|_| CryptoError::Malformed("claims can't be written as JSON"))?;
    let mut token = URL_SAFE_NO_PAD.encode(header);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(claims, &mut token);
    let signer: &dyn JwtSigner = key;
    let signature = signer.try_sign(token.as_bytes()).map_err(|_| CryptoError::Primitive)?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

/// Takes a token of three segments apart.
pub(crate) fn parse<'a>(token: &'a str, segments: [&'a str; 3]) -> Result<Parsed<'a>, TokenError> {
    let [header, payload, signature] = segments;
    let header = header_of(header)?;
    let algorithm =
        text_member(&header, "alg")?.ok_or(TokenError::Malformed("the header has no alg"))?.to_owned();
    let signing_input = token.rsplit_once('.').map_or("", |(input, _)| input);
    let payload = decode(payload)?;
    // An unsigned token has an empty signature; it fails on its alg, as such.
    let signature = decode(signature)?;
    Ok(Parsed { kid: kid_of(&header), algorithm, signing_input, payload, signature })
}

/// The claims, once algorithm and signature fit the key.
///
/// # Errors
/// They do not, or the payload is no strict JSON object.
pub fn verify(parsed: &Parsed<'_>, key: &PreparedKey) -> Result<Map<String, Value>, TokenError> {
    if key.key_type().algorithm().is_none_or(|algorithm| algorithm.as_str() != parsed.algorithm) {
        return Err(TokenError::SignatureInvalid);
    }
    let verifier: &dyn JwtVerifier = key;
    verifier
        .verify(parsed.signing_input.as_bytes(), &parsed.signature)
        .map_err(|_| TokenError::SignatureInvalid)?;
    json::parse_object(&parsed.payload, CLAIMS_DEPTH)
        .map_err(|_| TokenError::Malformed("the claims are no strict JSON object"))
}

pub(crate) fn header_of(segment: &str) -> Result<Map<String, Value>, TokenError> {
    let bytes = decode(segment)?;
    let header = json::parse_object(&bytes, HEADER_DEPTH)
        .map_err(|_| TokenError::Malformed("the header is no strict JSON object"))?;
    if ["crit", "b64", "zip"].iter().any(|member| header.contains_key(*member)) {
        return Err(TokenError::Malformed("the header has crit, b64 or zip, which are not understood"));
    }
    Ok(header)
}

pub(crate) fn kid_of(header: &Map<String, Value>) -> KidClaim {
    match header.get("kid") {
        None => KidClaim::Absent,
        Some(Value::String(text)) => text.parse().map_or(KidClaim::Foreign, KidClaim::Named),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            KidClaim::Foreign
        }
    }
}

pub(crate) fn text_member<'a>(
    header: &'a Map<String, Value>,
    name: &str,
) -> Result<Option<&'a str>, TokenError> {
    match header.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(TokenError::Malformed("a header member has the wrong type"))
        }
    }
}

pub(crate) fn decode(segment: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD
        .decode(segment)
        .map_err(|_| TokenError::Malformed("a segment is not base64url without padding"))
}
