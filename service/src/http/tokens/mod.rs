//! Tokens: issued and verified by the same keys that every offline verifier knows from the JWKS; refreshed, revoked, asked about.

pub(crate) mod facts;
mod form;
pub mod introspect;
pub mod issue;
mod opened;
mod pair;
pub mod refresh;
pub mod revoke;
pub mod verify;

/// Audience of credentials for this service; issuing for it is a permission of its own.
pub const OWN_AUDIENCE: &str = "claviger";
