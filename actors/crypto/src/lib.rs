//! Formats and primitives of the service: pure functions of their input.
//!
//! Nothing here reads a clock, a file or a socket, so every parser can be fuzzed in isolation and every format be checked against
//! its vector. Primitives come from aws-lc-rs and RustCrypto; none is home-made. Parsers take hostile input: they bound it, refuse
//! what they do not know and never repeat it in an error.

pub mod aead;
pub mod base62;
pub mod ciphertext;
pub mod claims;
pub mod digest;
mod error;
pub mod fernet;
pub mod foreign;
pub mod json;
pub mod jwe;
pub mod jwk;
pub mod jws;
pub mod material;
pub mod prepared;
pub mod public;
pub mod random;
pub mod secret;
pub mod stored;
pub mod token;
pub mod uses;

pub use error::{CryptoError, MaterialError, TokenError};
