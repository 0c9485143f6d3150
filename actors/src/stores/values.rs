//! What is inside of a sealed value.

use claviger_crypto::secret::SecretBytes;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Longest value, in bytes: a secret, or one token.
pub const VALUE_MAX: usize = 64 << 10;
/// Longest form of a value as it is sealed, in bytes: tokens are sealed as JSON, in which some characters take more room.
pub const SEALED_MAX: usize = 3 * VALUE_MAX;

/// Tokens of a third party. They are sealed together, since neither is of use with another one's other half. No `Debug`: they are secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenPair {
    /// The access token.
    pub access_token: Zeroizing<String>,
    /// The refresh token, if the provider gave one.
    pub refresh_token: Option<Zeroizing<String>>,
    /// How many seconds the access token lives by the word of the provider; absent = somebody has written it here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<u32>,
}

impl TokenPair {
    /// As it is sealed.
    #[must_use]
    pub fn to_bytes(&self) -> SecretBytes {
        // A pair of texts has a JSON form.
        SecretBytes::new(serde_json::to_vec(self).unwrap_or_default())
    }

    /// From what was sealed.
    #[must_use]
    pub fn of_bytes(bytes: &SecretBytes) -> Option<Self> {
        serde_json::from_slice(bytes.expose()).ok()
    }
}

/// A text as it is sealed.
#[must_use]
pub fn text_to_bytes(text: &str) -> SecretBytes {
    SecretBytes::new(text.as_bytes().to_vec())
}

/// A text from what was sealed.
#[must_use]
pub fn text_of_bytes(bytes: &SecretBytes) -> Option<Zeroizing<String>> {
    std::str::from_utf8(bytes.expose()).ok().map(|text| Zeroizing::new(text.to_owned()))
}
