//! Tokens of either kind, told apart by their number of segments.

use crate::{TokenError, jwe, jws, jws::KidClaim};

/// Longest token that is looked at.
pub const MAX_TOKEN_BYTES: usize = 64 * 1_024;

/// A token taken apart.
pub enum ParsedToken<'a> {
    /// Signed.
    Jws(jws::Parsed<'a>),
    /// Encrypted.
    Jwe(jwe::Parsed<'a>),
}

impl ParsedToken<'_> {
    /// The key it names.
    #[must_use]
    pub const fn kid(&self) -> &KidClaim {
        match self {
            Self::Jws(token) => &token.kid,
            Self::Jwe(token) => &token.kid,
        }
    }
}

/// Takes a token apart.
///
/// # Errors
/// It is none, or asks for what is not done here.
pub fn parse(token: &str) -> Result<ParsedToken<'_>, TokenError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenError::Malformed("the token is longer than 64 KiB"));
    }
    let mut segments = token.split('.');
    let mut next = || segments.next();
    match (next(), next(), next(), next(), next(), next()) {
        (Some(header), Some(payload), Some(signature), None, ..) => {
            jws::parse(token, [header, payload, signature]).map(ParsedToken::Jws)
        }
        (Some(header), Some(encrypted_key), Some(iv), Some(ciphertext), Some(tag), None) => {
            jwe::parse([header, encrypted_key, iv, ciphertext, tag]).map(ParsedToken::Jwe)
        }
        _ => Err(TokenError::Malformed("a token has three segments (JWS) or five (JWE)")),
    }
}
