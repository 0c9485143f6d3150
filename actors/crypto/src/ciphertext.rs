//! Ciphertexts that name their key: `clv:<kid>:` and base64 of nonce ‖ ciphertext ‖ tag, with `clv:<kid>:` ‖ context as
//! associated data.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use claviger_entity::Kid;

use crate::{CryptoError, prepared::PreparedKey, secret::SecretBytes};

const PREFIX: &str = "clv:";

/// A ciphertext taken apart.
pub struct Parsed {
    /// The version it was made with.
    pub kid: Kid,
    sealed: Vec<u8>,
}

/// Encrypts under a context that decryption must name again.
///
/// # Errors
/// The key is not aes256-gcm.
pub fn encrypt(key: &PreparedKey, kid: &Kid, plaintext: &[u8], context: &str) -> Result<String, CryptoError> {
    let prefix = prefix(kid);
    let sealed = key.aead()?.seal(aad(&prefix, context).as_bytes(), plaintext)?;
    let mut text = prefix;
    STANDARD.encode_string(sealed, &mut text);
    Ok(text)
}

/// Takes a ciphertext apart.
///
/// # Errors
/// It is none.
pub fn parse(text: &str) -> Result<Parsed, CryptoError> {
    const MALFORMED: CryptoError = CryptoError::Malformed("ciphertext must be clv:<kid>: followed by base64");
    let (kid, sealed) = text.strip_prefix(PREFIX).and_then(|rest| rest.split_once(':')).ok_or(MALFORMED)?;
    let kid = kid.parse().map_err(|_| MALFORMED)?;
    Ok(Parsed { kid, sealed: STANDARD.decode(sealed).map_err(|_| MALFORMED)? })
}

/// The plaintext.
///
/// # Errors
/// [`CryptoError::Refused`]: another key or context, or altered.
pub fn decrypt(parsed: &Parsed, key: &PreparedKey, context: &str) -> Result<SecretBytes, CryptoError> {
    key.aead()?.open(aad(&prefix(&parsed.kid), context).as_bytes(), &parsed.sealed)
}

fn prefix(kid: &Kid) -> String {
    [PREFIX, kid.as_str(), ":"].concat()
}

fn aad(prefix: &str, context: &str) -> String {
    [prefix, context].concat()
}
