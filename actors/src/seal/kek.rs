//! Key-encryption keys, one for each master secret.

use claviger_crypto::{aead::Aead, digest, secret::SecretBytes};
use uuid::Uuid;

use super::{Binding, SealError};

const INFO: &[u8] = b"claviger seal v1";
const CHECK: &[u8] = b"claviger key check v1";

/// Master secrets, newest first. The newest wraps; the others may still unwrap.
#[derive(Clone)]
pub struct MasterKeys {
    newest: SecretBytes,
    older: Vec<SecretBytes>,
}

impl MasterKeys {
    /// From their texts, newest first.
    #[must_use]
    pub fn new(secrets: Vec<SecretBytes>) -> Option<Self> {
        let mut secrets = secrets.into_iter();
        Some(Self { newest: secrets.next()?, older: secrets.collect() })
    }

    /// The key-encryption key of the newest master.
    ///
    /// # Errors
    /// A primitive failed.
    pub fn newest(&self, deployment: Uuid) -> Result<Kek, SealError> {
        Kek::derive(&self.newest, deployment)
    }

    /// The key-encryption key that a key-check value belongs to.
    ///
    /// # Errors
    /// [`SealError::WrongMaster`]: none of them.
    pub fn fitting(&self, deployment: Uuid, key_check: &[u8]) -> Result<Kek, SealError> {
        for secret in std::iter::once(&self.newest).chain(&self.older) {
            let kek = Kek::derive(secret, deployment)?;
            if kek.opens(key_check) {
                return Ok(kek);
            }
        }
        Err(SealError::WrongMaster)
    }
}

/// Wraps data-encryption keys: HKDF-SHA-256 of a master secret, salted with the deployment's id.
pub struct Kek {
    aead: Aead,
    deployment: Uuid,
}

impl Kek {
    fn derive(master: &SecretBytes, deployment: Uuid) -> Result<Self, SealError> {
        let key = digest::hkdf_sha256(master.expose(), deployment.as_bytes(), INFO);
        Ok(Self { aead: Aead::new(&key).map_err(|_| SealError::Primitive)?, deployment })
    }

    /// A value that only this key opens; it tells a wrong master at once.
    ///
    /// # Errors
    /// The random generator failed.
    pub fn key_check(&self) -> Result<Vec<u8>, SealError> {
        self.wrap(&Binding::key_check(self.deployment), CHECK)
    }

    fn opens(&self, key_check: &[u8]) -> bool {
        self.unwrap(&Binding::key_check(self.deployment), key_check).is_ok_and(|check| check.ct_eq(CHECK))
    }

    pub(super) const fn deployment(&self) -> Uuid {
        self.deployment
    }

    pub(super) fn wrap(&self, binding: &Binding, secret: &[u8]) -> Result<Vec<u8>, SealError> {
        self.aead.seal(binding.as_bytes(), secret).map_err(|_| SealError::Primitive)
    }

    pub(super) fn unwrap(&self, binding: &Binding, wrapped: &[u8]) -> Result<SecretBytes, SealError> {
        self.aead.open(binding.as_bytes(), wrapped).map_err(|_| SealError::Damaged)
    }
}
