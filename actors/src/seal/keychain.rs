//! The data-encryption keys of a deployment, open in memory.

use std::collections::BTreeMap;

use claviger_crypto::{aead::Aead, random, secret::SecretBytes};
use claviger_entity::tables::data_key;
use uuid::Uuid;

use super::{Binding, Kek, SealError};

/// What a data-encryption key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataKeyPurpose {
    /// Seals material and kept answers.
    Seal,
    /// Authenticates rows.
    RowMac,
}

impl DataKeyPurpose {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Seal => "seal",
            Self::RowMac => "row_mac",
        }
    }
}

/// A wrapped data-encryption key, as its row holds it.
pub type DataKey = data_key::Model;

/// Seals, opens and authenticates.
pub struct Keychain {
    deployment: Uuid,
    seals: BTreeMap<Uuid, Aead>,
    current: Uuid,
    row_mac: SecretBytes,
}

impl Keychain {
    /// Fresh keys for a new deployment, with the rows to keep them in.
    ///
    /// # Errors
    /// The random generator failed.
    pub fn create(kek: &Kek, now_ms: i64) -> Result<(Self, Vec<DataKey>), SealError> {
        let rows = [DataKeyPurpose::Seal, DataKeyPurpose::RowMac]
            .into_iter()
            .map(|purpose| fresh(kek, purpose, now_ms))
            .collect::<Result<Vec<_>, _>>()?;
        Ok((Self::open(kek, &rows)?, rows))
    }

    /// Opens the keys of a deployment.
    ///
    /// # Errors
    /// A row was altered or one is missing.
    pub fn open(kek: &Kek, rows: &[DataKey]) -> Result<Self, SealError> {
        let (mut seals, mut current, mut row_mac) = (BTreeMap::new(), None, None);
        let mut rows: Vec<_> = rows.iter().collect();
        rows.sort_by_key(|row| row.created_at);
        for row in rows {
            let id: Uuid = row.id.parse().map_err(|_| SealError::Damaged)?;
            let secret = kek.unwrap(&Binding::data_key(kek.deployment(), id, &row.purpose), &row.wrapped)?;
            if row.purpose == DataKeyPurpose::Seal.as_str() {
                seals.insert(id, Aead::new(&secret).map_err(|_| SealError::Damaged)?);
                current = Some(id);
            } else {
                row_mac = Some(secret);
            }
        }
        let missing = SealError::MissingDataKey;
        Ok(Self {
            deployment: kek.deployment(),
            seals,
            current: current.ok_or(missing)?,
            row_mac: row_mac.ok_or(missing)?,
        })
    }

    /// The deployment they belong to.
    #[must_use]
    pub const fn deployment(&self) -> Uuid {
        self.deployment
    }

    /// Seals a secret in its place; answers with the key that did it.
    ///
    /// # Errors
    /// The random generator failed.
    pub fn seal(&self, binding: &Binding, secret: &SecretBytes) -> Result<(Uuid, Vec<u8>), SealError> {
        let key = self.seals.get(&self.current).ok_or(SealError::MissingDataKey)?;
        let sealed = key.seal(binding.as_bytes(), secret.expose()).map_err(|_| SealError::Primitive)?;
        Ok((self.current, sealed))
    }

    /// Opens a sealed secret in its place.
    ///
    /// # Errors
    /// It was altered or moved, or its key is missing.
    pub fn open_sealed(&self, key: Uuid, binding: &Binding, sealed: &[u8]) -> Result<SecretBytes, SealError> {
        let key = self.seals.get(&key).ok_or(SealError::MissingDataKey)?;
        key.open(binding.as_bytes(), sealed).map_err(|_| SealError::Damaged)
    }

    pub(super) const fn row_mac(&self) -> &SecretBytes {
        &self.row_mac
    }
}

fn fresh(kek: &Kek, purpose: DataKeyPurpose, now_ms: i64) -> Result<DataKey, SealError> {
    let id = Uuid::now_v7();
    let secret = SecretBytes::new(random::bytes(32).map_err(|_| SealError::Primitive)?);
    let wrapped = kek.wrap(&Binding::data_key(kek.deployment(), id, purpose.as_str()), secret.expose())?;
    Ok(DataKey { id: id.to_string(), purpose: purpose.as_str().to_owned(), wrapped, created_at: now_ms })
}
