//! Refusals. None repeats its input: what was given may be a secret.

/// An operation that could not be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// The key's type does not know this operation.
    #[error("{0}")]
    Unsupported(&'static str),
    /// The input has not the form it should have.
    #[error("{0}")]
    Malformed(&'static str),
    /// The input was not made with this key and context, or was altered.
    #[error("the input was not made with this key and context, or was altered")]
    Refused,
    /// The random generator or a primitive failed; not the caller's fault.
    #[error("a cryptographic primitive failed")]
    Primitive,
    /// The key has encrypted as often as it may.
    #[error("this version of the key has encrypted 2^32 times and may not any more; rotate the key")]
    Spent,
    /// The key has encrypted for long without being counted.
    #[error("encryptions of this key can't be counted, since the database does not answer; try again")]
    Uncounted,
}

/// Material that can't become a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MaterialError {
    /// It breaks a rule of its type.
    #[error("{0}")]
    Unfit(&'static str),
    /// The random generator or a primitive failed.
    #[error("key material could not be generated")]
    Primitive,
}

/// A token that is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It has not the form of a token.
    #[error("{0}")]
    Malformed(&'static str),
    /// Its algorithm is not the key's, or its signature or tag does not fit.
    #[error("the signature does not fit the token and the key")]
    SignatureInvalid,
}
