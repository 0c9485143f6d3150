//! Key-encryption keys, one for each master secret.

use claviger_crypto::{aead::Aead, digest, secret::SecretBytes};
use uuid::Uuid;

use super::{Binding, DataKey, OldMaster, SealError};

const INFO: &[u8] = b"claviger seal v1";
const FINGERPRINT: &[u8] = b"claviger master fingerprint v1";
const FINGERPRINT_BYTES: usize = 8;
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
        self.in_use(deployment, key_check).map(|(kek, _)| kek)
    }

    /// As [`Self::fitting`], with the secret itself.
    pub(crate) fn in_use(
        &self,
        deployment: Uuid,
        key_check: &[u8],
    ) -> Result<(Kek, &SecretBytes), SealError> {
        for secret in self.all() {
            let kek = Kek::derive(secret, deployment)?;
            if kek.opens(key_check) {
                return Ok((kek, secret));
            }
        }
        Err(SealError::WrongMaster)
    }

    /// What stands for each of them on one deployment, newest first.
    #[must_use]
    pub fn fingerprints(&self, deployment: Uuid) -> Vec<String> {
        self.all().map(|secret| fingerprint(secret, deployment)).collect()
    }

    fn all(&self) -> impl Iterator<Item = &SecretBytes> {
        std::iter::once(&self.newest).chain(&self.older)
    }
}

/// Keyed by the secret itself, and another one on every deployment: it tells masters apart, and nothing about them.
fn fingerprint(secret: &SecretBytes, deployment: Uuid) -> String {
    let hash = digest::hkdf_sha256(secret.expose(), deployment.as_bytes(), FINGERPRINT);
    hash.expose().iter().take(FINGERPRINT_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

/// Wraps data-encryption keys: HKDF-SHA-256 of a master secret, salted with the deployment's id.
pub struct Kek {
    aead: Aead,
    deployment: Uuid,
    fingerprint: String,
}

impl Kek {
    fn derive(master: &SecretBytes, deployment: Uuid) -> Result<Self, SealError> {
        let key = digest::hkdf_sha256(master.expose(), deployment.as_bytes(), INFO);
        let aead = Aead::new(&key).map_err(|_| SealError::Primitive)?;
        Ok(Self { aead, deployment, fingerprint: fingerprint(master, deployment) })
    }

    /// What stands for its master.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// A data-encryption key that this one has wrapped, wrapped by another.
    ///
    /// # Errors
    /// The row was altered, or the random generator failed.
    pub(crate) fn rewrap(&self, to: &Self, row: &DataKey) -> Result<DataKey, SealError> {
        let id = row.id.parse().map_err(|_| SealError::Damaged)?;
        let binding = Binding::data_key(self.deployment, id, &row.purpose);
        let secret = self.unwrap(&binding, &row.wrapped)?;
        Ok(DataKey { wrapped: to.wrap(&binding, secret.expose())?, ..row.clone() })
    }

    /// A master of before, for its row.
    ///
    /// # Errors
    /// The random generator failed.
    pub(crate) fn keep_old(
        &self,
        (secret, fingerprint): (&SecretBytes, &str),
        (version, replaced_at): (i64, i64),
    ) -> Result<OldMaster, SealError> {
        let binding = Binding::old_master(self.deployment, fingerprint, (version, replaced_at));
        let sealed = self.wrap(&binding, secret.expose())?;
        Ok(OldMaster { fingerprint: fingerprint.to_owned(), version, replaced_at, sealed })
    }

    /// The master of a row, if this key has sealed it and it is the one that the row names.
    ///
    /// # Errors
    /// The row was altered, or is under another master.
    pub fn old_master(&self, row: &OldMaster) -> Result<SecretBytes, SealError> {
        let binding = Binding::old_master(self.deployment, &row.fingerprint, (row.version, row.replaced_at));
        let secret = self.unwrap(&binding, &row.sealed)?;
        if fingerprint(&secret, self.deployment) == row.fingerprint {
            Ok(secret)
        } else {
            Err(SealError::Damaged)
        }
    }

    /// A value that only this key opens; it tells a wrong master at once.
    ///
    /// # Errors
    /// The random generator failed.
    pub fn key_check(&self) -> Result<Vec<u8>, SealError> {
        self.wrap(&Binding::key_check(self.deployment), CHECK)
    }

    pub(crate) fn opens(&self, key_check: &[u8]) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::Keychain;

    fn secret(byte: u8) -> SecretBytes {
        SecretBytes::new(vec![byte; 32])
    }

    #[test]
    fn fingerprints_tell_masters_and_deployments_apart() {
        let masters = MasterKeys::new(vec![secret(1), secret(2)]).unwrap();
        let (here, there) = (masters.fingerprints(Uuid::nil()), masters.fingerprints(Uuid::max()));
        assert_eq!(here, masters.fingerprints(Uuid::nil()));
        assert!(here.len() == 2 && here[0] != here[1] && here.iter().all(|one| !there.contains(one)));
        assert!(here.iter().all(|one| one.len() == 16));
        assert_eq!(masters.newest(Uuid::nil()).unwrap().fingerprint(), here[0]);
    }

    #[test]
    fn a_wrapped_key_moves_to_another_master_and_leaves_the_first() {
        let kek = |byte| MasterKeys::new(vec![secret(byte)]).unwrap().newest(Uuid::nil()).unwrap();
        let (from, to) = (kek(1), kek(2));
        let (_, rows) = Keychain::create(&from, 0).unwrap();
        let moved: Vec<_> = rows.iter().map(|row| from.rewrap(&to, row).unwrap()).collect();
        let standing = super::super::Standing::default();
        assert!(Keychain::open(&to, &moved, &standing).is_ok());
        assert!(matches!(Keychain::open(&from, &moved, &standing), Err(SealError::Damaged)));
        assert!(matches!(to.rewrap(&from, &rows[0]), Err(SealError::Damaged)));
    }

    #[test]
    fn an_old_master_opens_under_the_new_one_and_in_its_row_only() {
        let kek = |byte| MasterKeys::new(vec![secret(byte)]).unwrap().newest(Uuid::nil()).unwrap();
        let (from, to) = (kek(1), kek(2));
        let row = to.keep_old((&secret(1), from.fingerprint()), (1, 5)).unwrap();
        assert!(to.old_master(&row).is_ok_and(|old| old.ct_eq(secret(1).expose())));
        for edited in [
            OldMaster { version: 2, ..row.clone() },
            OldMaster { replaced_at: 6, ..row.clone() },
            OldMaster { fingerprint: to.fingerprint().to_owned(), ..row.clone() },
            to.keep_old((&secret(3), from.fingerprint()), (1, 5)).unwrap(),
        ] {
            assert!(matches!(to.old_master(&edited), Err(SealError::Damaged)));
        }
        assert!(from.old_master(&row).is_err());
    }
}
