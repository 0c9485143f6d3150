//! Tokens: issued and verified by the same keys that every offline verifier knows from the JWKS.

pub mod issue;
pub mod verify;

/// Audience of credentials for this service; issuing for it is a permission of its own.
pub const OWN_AUDIENCE: &str = "claviger";
