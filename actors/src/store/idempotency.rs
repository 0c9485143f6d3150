//! Answers kept for callers that ask twice. They may hold secrets, so they are sealed.

use claviger_crypto::secret::SecretBytes;
use claviger_entity::tables::idempotency;
use sea_orm::{ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QuerySelect as _, Set};

use super::{Database, StoreError, rows};
use crate::{
    keyring::record::Time,
    seal::{Binding, Keychain},
};

/// How many forgotten answers one sweep removes.
const SWEEP: u64 = 1_000;

/// An answer given under an `Idempotency-Key`.
pub struct IdempotencyRecord {
    /// Whose key it is.
    pub scope: String,
    /// The key.
    pub key: String,
    /// Hash of method, path and body.
    pub request_hash: [u8; 32],
    /// The answer.
    pub response: SecretBytes,
    /// When it was given.
    pub created_at: Time,
    /// When it is forgotten.
    pub expires_at: Time,
}

impl Database {
    /// The answer given under a key, while it is remembered.
    ///
    /// # Errors
    /// The database failed or the row was edited.
    pub async fn find_idempotent(
        &self,
        keychain: &Keychain,
        scope: &str,
        key: &str,
        now: Time,
    ) -> Result<Option<IdempotencyRecord>, StoreError> {
        find(&self.connection, keychain, scope, key, now).await
    }

    /// Keeps an answer.
    ///
    /// # Errors
    /// The key is taken ([`StoreError::Database`]), or the database failed.
    pub async fn remember(&self, keychain: &Keychain, record: &IdempotencyRecord) -> Result<(), StoreError> {
        insert(&self.connection, keychain, record).await
    }

    /// Removes answers that are no longer remembered, a bounded number at a time.
    ///
    /// # Errors
    /// The database failed.
    pub async fn forget_idempotent(&self, now: Time) -> Result<(), StoreError> {
        let stale = idempotency::Entity::find()
            .filter(idempotency::Column::ExpiresAt.lte(rows::millis(now)))
            .limit(SWEEP)
            .all(&self.connection)
            .await?;
        for row in stale {
            idempotency::Entity::delete_by_id((row.scope, row.idem_key)).exec(&self.connection).await?;
        }
        Ok(())
    }
}

/// The answer given under a key, while it is remembered.
pub(super) async fn find(
    connection: &impl ConnectionTrait,
    keychain: &Keychain,
    scope: &str,
    key: &str,
    now: Time,
) -> Result<Option<IdempotencyRecord>, StoreError> {
    let id = (scope.to_owned(), key.to_owned());
    let Some(row) = idempotency::Entity::find_by_id(id).one(connection).await? else {
        return Ok(None);
    };
    if row.expires_at <= rows::millis(now) {
        idempotency::Entity::delete_by_id((row.scope, row.idem_key)).exec(connection).await?;
        return Ok(None);
    }
    let damaged = StoreError::Seal(crate::seal::SealError::Damaged);
    let (Ok(request_hash), Ok(dek)) = (<[u8; 32]>::try_from(row.request_hash), row.dek_id.parse()) else {
        return Err(damaged);
    };
    let (Some(created_at), Some(expires_at)) = (
        chrono::DateTime::from_timestamp_millis(row.created_at),
        chrono::DateTime::from_timestamp_millis(row.expires_at),
    ) else {
        return Err(damaged);
    };
    let binding = Binding::answer(keychain.deployment(), scope, key);
    let response = keychain.open_sealed(dek, &binding, &row.response)?;
    Ok(Some(IdempotencyRecord {
        scope: row.scope,
        key: row.idem_key,
        request_hash,
        response,
        created_at,
        expires_at,
    }))
}

pub(super) async fn insert(
    connection: &impl ConnectionTrait,
    keychain: &Keychain,
    record: &IdempotencyRecord,
) -> Result<(), StoreError> {
    let binding = Binding::answer(keychain.deployment(), &record.scope, &record.key);
    let (dek, response) = keychain.seal(&binding, &record.response)?;
    let row = idempotency::ActiveModel {
        scope: Set(record.scope.clone()),
        idem_key: Set(record.key.clone()),
        request_hash: Set(record.request_hash.to_vec()),
        dek_id: Set(dek.to_string()),
        response: Set(response),
        created_at: Set(rows::millis(record.created_at)),
        expires_at: Set(rows::millis(record.expires_at)),
    };
    idempotency::Entity::insert(row).exec_without_returning(connection).await?;
    Ok(())
}
