//! Where a sealed value belongs.

use claviger_entity::{KeyType, VersionNumber};
use uuid::Uuid;

/// The place of a sealed value: its associated data. Parts are written with their lengths, so no two places look alike.
pub struct Binding(Vec<u8>);

impl Binding {
    /// Material of a version.
    #[must_use]
    pub fn material(deployment: Uuid, key: Uuid, version: VersionNumber, key_type: KeyType) -> Self {
        Self::of(&[
            deployment.as_bytes(),
            key.as_bytes(),
            &version.number().to_be_bytes(),
            key_type.as_str().as_bytes(),
            b"material",
        ])
    }

    /// An answer kept for a retry.
    #[must_use]
    pub fn answer(deployment: Uuid, scope: &str, key: &str) -> Self {
        Self::of(&[deployment.as_bytes(), scope.as_bytes(), key.as_bytes(), b"answer"])
    }

    /// A value that is stored for somebody. Whoever may decrypt with the key by its route names a context, which never looks like this.
    #[must_use]
    pub fn stored(
        deployment: Uuid,
        store: &str,
        (owner, name): (&str, &str),
        (id, version): (Uuid, u64),
    ) -> Self {
        Self::of(&[
            deployment.as_bytes(),
            store.as_bytes(),
            owner.as_bytes(),
            name.as_bytes(),
            id.as_bytes(),
            &version.to_be_bytes(),
            b"stored",
        ])
    }

    /// What is issued for a refresh token.
    #[must_use]
    pub fn grant(deployment: Uuid, token: Uuid) -> Self {
        Self::of(&[deployment.as_bytes(), token.as_bytes(), b"grant"])
    }

    /// The pair that was given for a refresh token.
    #[must_use]
    pub fn pair(deployment: Uuid, token: Uuid) -> Self {
        Self::of(&[deployment.as_bytes(), token.as_bytes(), b"pair"])
    }

    /// A wrapped data-encryption key.
    pub(super) fn data_key(deployment: Uuid, id: Uuid, purpose: &str) -> Self {
        Self::of(&[deployment.as_bytes(), id.as_bytes(), purpose.as_bytes(), b"data key"])
    }

    /// A master of before.
    pub(super) fn old_master(
        deployment: Uuid,
        fingerprint: &str,
        (version, replaced_at): (i64, i64),
    ) -> Self {
        Self::of(&[
            deployment.as_bytes(),
            fingerprint.as_bytes(),
            &version.to_be_bytes(),
            &replaced_at.to_be_bytes(),
            b"old master",
        ])
    }

    /// The key-check value.
    pub(super) fn key_check(deployment: Uuid) -> Self {
        Self::of(&[deployment.as_bytes(), b"key check"])
    }

    fn of(parts: &[&[u8]]) -> Self {
        let mut bytes = Vec::new();
        for part in parts {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}
