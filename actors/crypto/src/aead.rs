//! AES-256-GCM (NIST SP 800-38D) with random 96-bit nonces: nonce ‖ ciphertext ‖ tag.

use aes_gcm::{
    Aes256Gcm,
    aead::{Aead as _, KeyInit as _, Payload},
};

use crate::{CryptoError, random, secret::SecretBytes, uses::Uses};

/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 12;
/// Bytes of a tag.
pub const TAG_BYTES: usize = 16;

/// A prepared key.
pub struct Aead {
    cipher: Aes256Gcm,
    uses: Uses,
}

impl Aead {
    /// Expands a key of 32 bytes.
    ///
    /// # Errors
    /// Another length.
    pub fn new(key: &SecretBytes) -> Result<Self, CryptoError> {
        Aes256Gcm::new_from_slice(key.expose())
            .map(|cipher| Self { cipher, uses: Uses::default() })
            .map_err(|_| CryptoError::Malformed("an AES-256 key has 32 bytes"))
    }

    /// How often it has encrypted.
    #[must_use]
    pub const fn uses(&self) -> &Uses {
        &self.uses
    }

    /// Encrypts under a fresh nonce: nonce ‖ ciphertext ‖ tag.
    ///
    /// # Errors
    /// The random generator failed, the plaintext is too long for GCM, or the key has encrypted as often as it may.
    pub fn seal(&self, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let mut nonce = [0; NONCE_BYTES];
        random::fill(&mut nonce)?;
        let mut sealed = nonce.to_vec();
        sealed.append(&mut self.seal_with(&nonce, aad, plaintext)?);
        Ok(sealed)
    }

    /// Encrypts under a given nonce, which the caller must never use again: ciphertext ‖ tag.
    ///
    /// # Errors
    /// The plaintext is too long for GCM, or the key has encrypted as often as it may.
    pub fn seal_with(
        &self,
        nonce: &[u8; NONCE_BYTES],
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        self.uses.take()?;
        self.cipher.encrypt(nonce.into(), Payload { msg: plaintext, aad }).map_err(|_| CryptoError::Primitive)
    }

    /// Decrypts nonce ‖ ciphertext ‖ tag.
    ///
    /// # Errors
    /// [`CryptoError::Refused`]: altered, or another key or AAD.
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<SecretBytes, CryptoError> {
        let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(CryptoError::Refused)?;
        self.open_with(nonce, aad, ciphertext)
    }

    /// Decrypts ciphertext ‖ tag.
    ///
    /// # Errors
    /// [`CryptoError::Refused`]: altered, or another key, nonce or AAD.
    pub fn open_with(
        &self,
        nonce: &[u8; NONCE_BYTES],
        aad: &[u8],
        ciphertext: &[u8],
    ) -> Result<SecretBytes, CryptoError> {
        let payload = Payload { msg: ciphertext, aad };
        self.cipher.decrypt(nonce.into(), payload).map(SecretBytes::new).map_err(|_| CryptoError::Refused)
    }
}

/// [`Aead::seal`] for a key used once.
///
/// # Errors
/// As there.
pub fn seal(key: &SecretBytes, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, CryptoError> {
    Aead::new(key)?.seal(aad, plaintext)
}

/// [`Aead::open`] for a key used once.
///
/// # Errors
/// As there.
pub fn open(key: &SecretBytes, aad: &[u8], sealed: &[u8]) -> Result<SecretBytes, CryptoError> {
    Aead::new(key)?.open(aad, sealed)
}
