//! Public halves of audit keys, and how they are written.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use claviger_crypto::jwk;
use claviger_entity::KeyType;
use serde_json::Value;

use super::super::{line::Head, signed::Verifier};

/// A text that names no Ed25519 public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither a JWK or JWKS of Ed25519 keys, nor the 32 bytes of one in base64url")]
pub struct NotAKey;

/// The public half of an audit key.
pub(super) struct Key {
    raw: [u8; 32],
    /// RFC 7638 thumbprint.
    pub(super) kid: String,
    verifier: Verifier,
}

impl Key {
    fn from_raw(raw: [u8; 32]) -> Option<Self> {
        let kid = jwk::thumbprint(KeyType::Eddsa, &raw).ok()?.as_str().to_owned();
        Some(Self { kid, verifier: Verifier::from_raw(&raw)?, raw })
    }

    /// From the base64url of its 32 bytes.
    fn from_x(x: &str) -> Option<Self> {
        let raw = URL_SAFE_NO_PAD.decode(x).ok()?;
        Self::from_raw(raw.try_into().ok()?)
    }

    /// From a JWK; its `kid`, if it has one, must be its thumbprint.
    pub(super) fn from_jwk(jwk: &Value) -> Option<Self> {
        let member = |name: &str| jwk.get(name).and_then(Value::as_str);
        let is_ed25519 = member("kty") == Some("OKP") && member("crv") == Some("Ed25519");
        let key = is_ed25519.then(|| member("x")).flatten().and_then(Self::from_x)?;
        member("kid").is_none_or(|kid| kid == key.kid).then_some(key)
    }

    /// Every key in a text: one JWK, a JWKS, or bare `x`.
    pub(super) fn all_in(text: &str) -> Result<Vec<Self>, NotAKey> {
        let text = text.trim();
        if !text.starts_with('{') {
            return Self::from_x(text).map(|key| vec![key]).ok_or(NotAKey);
        }
        let value: Value = serde_json::from_str(text).map_err(|_| NotAKey)?;
        let Some(keys) = value.get("keys") else {
            return Self::from_jwk(&value).map(|key| vec![key]).ok_or(NotAKey);
        };
        let keys: Option<Vec<Self>> = keys.as_array().ok_or(NotAKey)?.iter().map(Self::from_jwk).collect();
        keys.filter(|keys| !keys.is_empty()).ok_or(NotAKey)
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        self.raw == other.raw
    }

    pub(super) fn vouches_for(&self, head: &Head, content: &[u8]) -> bool {
        self.verifier.vouches_for(head, content)
    }
}
