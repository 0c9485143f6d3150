//! Lines that the log signs: whoever has not the audit key can't make them.
//!
//! Ed25519 (RFC 8032) over `claviger audit v1\n` ‖ hash of the line before ‖ the line up to `,"signature":"`. So a signature vouches for
//! everything before it, and fits no other place.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use claviger_crypto::{prepared::PreparedKey, public::PublicKey};
use claviger_entity::KeyType;
use serde_json::Value;

use super::line::Head;

const DOMAIN: &[u8] = b"claviger audit v1\n";
const SIGNATURE: &[u8] = b",\"signature\":\"";
/// Bytes of an Ed25519 signature in base64url.
const SIGNATURE_LENGTH: usize = 86;
/// SPKI of Ed25519 (RFC 8410) before the 32 bytes of the key.
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The audit key as it is now, and where the ring stands.
#[derive(Clone)]
pub struct Signing {
    /// Its identifier: the RFC 7638 thumbprint.
    pub kid: Arc<str>,
    /// The public half as a JWK.
    pub jwk: Arc<Value>,
    /// The private half.
    pub key: Arc<PreparedKey>,
    /// Epoch of the ring.
    pub epoch: u64,
}

/// Where the log gets its key from.
pub trait Signer: Send + Sync {
    /// The key to sign with now; `None` while there is none.
    fn signing(&self) -> Option<Signing>;
}

/// Signs the line that begins at `start` of `into`.
pub(super) fn sign(signing: &Signing, head: &Head, into: &mut Vec<u8>, start: usize) {
    let signed = input(head, into.get(start..).unwrap_or_default());
    // A key of this type always signs; an empty signature would be found by whoever verifies.
    let signature = signing.key.sign(&signed).unwrap_or_default();
    into.extend_from_slice(SIGNATURE);
    into.extend_from_slice(URL_SAFE_NO_PAD.encode(signature).as_bytes());
    into.push(b'"');
}

fn input(head: &Head, content: &[u8]) -> Vec<u8> {
    [DOMAIN, head, content].concat()
}

/// A public half of an audit key.
pub struct Verifier(PublicKey);

impl Verifier {
    /// From the 32 bytes of the key.
    #[must_use]
    pub fn from_raw(raw: &[u8]) -> Option<Self> {
        if raw.len() != 32 {
            return None;
        }
        let spki = [&SPKI[..], raw].concat();
        PublicKey::from_spki(KeyType::Eddsa, &spki).ok().map(Self)
    }

    /// From a JWK of type OKP and curve Ed25519 (RFC 8037).
    #[must_use]
    pub fn from_jwk(jwk: &Value) -> Option<Self> {
        let is = |name: &str, value: &str| jwk.get(name).and_then(Value::as_str) == Some(value);
        if !is("kty", "OKP") || !is("crv", "Ed25519") {
            return None;
        }
        Self::from_raw(&URL_SAFE_NO_PAD.decode(jwk.get("x")?.as_str()?).ok()?)
    }

    /// The content of a line is signed with this key, after a line with this hash.
    #[must_use]
    pub fn vouches_for(&self, head: &Head, content: &[u8]) -> bool {
        let Some((signed, signature)) = split(content) else { return false };
        let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { return false };
        self.0.verify(&input(head, signed), &signature)
    }
}

/// What is signed, and the signature's text.
fn split(content: &[u8]) -> Option<(&[u8], &[u8])> {
    let content = content.strip_suffix(b"\"")?;
    let (content, signature) = content.split_at_checked(content.len().checked_sub(SIGNATURE_LENGTH)?)?;
    Some((content.strip_suffix(SIGNATURE)?, signature))
}

#[cfg(test)]
pub(super) mod tests {
    use claviger_crypto::{jwk, material::Material};

    use super::*;

    /// A key of one's own.
    pub(in crate::audit) struct OwnKey(pub(in crate::audit) Signing);

    impl Default for OwnKey {
        fn default() -> Self {
            let material = Material::generate(KeyType::Eddsa, None).unwrap();
            let spki = material.public_spki.unwrap();
            Self(Signing {
                kid: material.kid.as_str().into(),
                jwk: jwk::public_jwk(KeyType::Eddsa, &spki, &material.kid).unwrap().into(),
                key: Arc::new(PreparedKey::new(KeyType::Eddsa, &material.secret).unwrap()),
                epoch: 1,
            })
        }
    }

    impl Signer for OwnKey {
        fn signing(&self) -> Option<Signing> {
            Some(self.0.clone())
        }
    }

    #[test]
    fn a_signature_holds_for_its_line_in_its_place() {
        let OwnKey(signing) = OwnKey::default();
        let verifier = Verifier::from_jwk(&signing.jwk).unwrap();
        let mut content = b"{\"seq\":1,\"a\":1".to_vec();
        sign(&signing, &[1; 32], &mut content, 0);
        assert!(verifier.vouches_for(&[1; 32], &content));
        assert!(!verifier.vouches_for(&[2; 32], &content));
        let OwnKey(other) = OwnKey::default();
        assert!(!Verifier::from_jwk(&other.jwk).unwrap().vouches_for(&[1; 32], &content));
        for at in 0..content.len() {
            let mut edited = content.clone();
            edited[at] ^= 1;
            assert!(!verifier.vouches_for(&[1; 32], &edited), "byte {at}");
        }
        assert!(!verifier.vouches_for(&[1; 32], b"{\"seq\":1,\"a\":1"));
    }
}
