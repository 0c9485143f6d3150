//! Randomness, from the operating system through aws-lc-rs.

use aws_lc_rs::rand;

use crate::CryptoError;

/// Random bytes.
///
/// # Errors
/// The generator failed.
pub fn bytes(length: usize) -> Result<Vec<u8>, CryptoError> {
    let mut bytes = vec![0; length];
    fill(&mut bytes)?;
    Ok(bytes)
}

/// Fills a buffer with random bytes.
///
/// # Errors
/// The generator failed.
pub fn fill(buffer: &mut [u8]) -> Result<(), CryptoError> {
    rand::fill(buffer).map_err(|_| CryptoError::Primitive)
}

/// A random text of `length` bytes in base62.
///
/// # Errors
/// The generator failed.
pub fn text(length: usize) -> Result<String, CryptoError> {
    Ok(crate::base62::encode(&bytes(length)?))
}
