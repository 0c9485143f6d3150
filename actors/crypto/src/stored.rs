//! Texts as systems keep them at rest, in any of the formats that there have been; what is written is the present one.
//!
//! | begins or looks like | is |
//! |---|---|
//! | `clv:<kid>:` | [`ciphertext`] |
//! | five segments | [`jwe`] of `{"v": "<text>"}`, by its `kid` |
//! | anything else | [`fernet`], or base64 of it, under every version of the key |

use claviger_entity::Kid;

use crate::{CryptoError, ciphertext, jwe, jws::KidClaim, prepared::PreparedKey, secret::SecretBytes};

/// Longest text that is looked at: 64 KiB of a value in base64, twice.
pub const TEXT_MAX_BYTES: usize = 160 << 10;

const UNKNOWN: CryptoError =
    CryptoError::Malformed("the text must be clv:<kid>:…, a JWE, a Fernet token or base64 of one");

/// In what form a value was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The present one.
    Present,
    /// A JWE.
    Jwe,
    /// A Fernet token, wrapped in base64 or not.
    Fernet,
}

/// What a text may have been made with.
pub trait Keys {
    /// Does `with` the version that a `kid` names, as long as there is one that may decrypt and `with` does not fit.
    ///
    /// # Errors
    /// No version fits.
    fn by_kid(
        &self,
        kid: &str,
        with: &dyn Fn(&PreparedKey) -> Result<SecretBytes, CryptoError>,
    ) -> Result<SecretBytes, CryptoError>;

    /// The same with every version of a fernet key that may decrypt.
    ///
    /// # Errors
    /// No version fits.
    fn fernet(
        &self,
        with: &dyn Fn(&PreparedKey) -> Result<SecretBytes, CryptoError>,
    ) -> Result<SecretBytes, CryptoError>;
}

/// The value in a text, and in what form it was.
///
/// # Errors
/// It is in none of them, or no key fits.
pub fn read(text: &str, context: &str, keys: &impl Keys) -> Result<(SecretBytes, Format), CryptoError> {
    if text.len() > TEXT_MAX_BYTES {
        return Err(CryptoError::Malformed("the text is longer than 160 KiB"));
    }
    let text = text.trim();
    if text.starts_with("clv:") {
        let parsed = ciphertext::parse(text)?;
        let value = keys.by_kid(parsed.kid.as_str(), &|key| ciphertext::decrypt(&parsed, key, context))?;
        return Ok((value, Format::Present));
    }
    let segments: Vec<&str> = text.splitn(6, '.').collect();
    if let Ok(segments) = <[&str; 5]>::try_from(segments) {
        let parsed = jwe::parse(segments).map_err(|_| UNKNOWN)?;
        let KidClaim::Named(kid) = &parsed.kid else { return Err(UNKNOWN) };
        let value = |key: &PreparedKey| {
            let text = jwe::decrypt_value(&parsed, key).map_err(|_| CryptoError::Refused)?;
            Ok(SecretBytes::new(text.into_bytes()))
        };
        return Ok((keys.by_kid(kid.as_str(), &value)?, Format::Jwe));
    }
    let value = keys.fernet(&|key| key.fernet()?.decrypt_lenient(text))?;
    Ok((value, Format::Fernet))
}

/// A value in the present form.
///
/// # Errors
/// The key is not aes256-gcm.
pub fn write(key: &PreparedKey, kid: &Kid, value: &[u8], context: &str) -> Result<String, CryptoError> {
    ciphertext::encrypt(key, kid, value, context)
}
