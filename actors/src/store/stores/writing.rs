//! Writes: one transaction for what one request asks.

use claviger_entity::{
    KeyName,
    tables::{auth_token, key, offline_token, secret, secret_version},
};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, ConnectionTrait as _, DatabaseTransaction, DbErr,
    EntityTrait as _, IntoActiveModel as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    TransactionTrait as _, sea_query::OnConflict,
};
use uuid::Uuid;

use super::{
    reading::{Found, judged, one},
    tables::{Table, in_table_of},
};
use crate::{
    keyring::record::Time,
    seal::Keychain,
    store::{Database, EventRow, IdempotencyRecord, StoreError, Turn, audit, idempotency, slow},
    stores::{Item, Place, Store},
};

/// Writers of the stores share this lock of the transaction; whoever ends a version of their key has it alone. Unlike a lock on the key's
/// row it is handed out in the order of asking, so that no stream of writers keeps the other side waiting.
const STORES_LOCK: i64 = 0x636c_7673_746f_7265;
/// Rows of a history in which the newest sound one is looked for; there are ten, unless somebody has put more there.
const LOOKED_AT: u64 = 50;

/// A change of what is stored, under way.
pub(crate) struct StoresTurn {
    pub(super) transaction: DatabaseTransaction,
    /// Revision of the key `stores`: what is sealed must be so under the key as it is now.
    pub(crate) key_revision: u64,
}

impl Database {
    /// Begins a change of what is stored.
    ///
    /// # Errors
    /// The database failed, or has no key to seal with.
    pub(crate) async fn take_stores_turn(&self) -> Result<StoresTurn, StoreError> {
        let transaction = self.connection.begin_with_options(Self::writing()).await?;
        if self.is_shared() {
            let lock = format!("SELECT pg_advisory_xact_lock_shared({STORES_LOCK})");
            transaction.execute_unprepared(&lock).await?;
        }
        let query = key::Entity::find().filter(key::Column::Name.eq(KeyName::stores().as_str()));
        let revision: Option<i64> =
            query.select_only().column(key::Column::Revision).into_tuple().one(&transaction).await?;
        let key_revision = revision.and_then(|revision| u64::try_from(revision).ok());
        Ok(StoresTurn { transaction, key_revision: key_revision.ok_or(StoreError::Conflict)? })
    }
}

impl StoresTurn {
    /// What is at a place; nobody else changes it until this is over.
    pub(crate) async fn find(&self, keychain: &Keychain, place: &Place) -> Result<Option<Found>, StoreError> {
        in_table_of!(place.store(), T => {
            one::<T>(&self.transaction, keychain, T::at(place).lock_exclusive()).await
        })
    }

    /// Puts an item where nothing is; `false` when somebody else was first.
    pub(crate) async fn insert(&self, keychain: &Keychain, item: Item) -> Result<bool, StoreError> {
        in_table_of!(item.place.store(), T => {
            insert::<T>(&self.transaction, T::sealed_row(keychain, item.id, item)).await
        })
    }

    /// Puts an item in the place of one that was found. What it was stays in the history of a secret, if it was sound.
    pub(crate) async fn replace(
        &self,
        keychain: &Keychain,
        before: &Found,
        item: Item,
    ) -> Result<(), StoreError> {
        if item.place.store() == Store::Secrets {
            self.remember_version(keychain, before, &item).await?;
        }
        in_table_of!(item.place.store(), T => {
            let row = T::sealed_row(keychain, item.id, item);
            let is_in = match before {
                // It stays the same row: whoever waits for it, to delete it, finds it as it is then. Of a row that is deleted and
                // inserted they would find nothing.
                Found::Sound(before) => {
                    let row = row.into_active_model().reset_all();
                    let update = T::update_many().set(row).filter(T::ID.eq(before.id.to_string()));
                    update.exec(&self.transaction).await?.rows_affected == 1
                }
                // A damaged row is replaced whole: even its id may be another one's.
                Found::Damaged(id) => {
                    T::delete_many().filter(T::ID.eq(id)).exec(&self.transaction).await?;
                    insert::<T>(&self.transaction, row).await?
                }
            };
            is_in.then_some(()).ok_or(StoreError::Conflict)
        })
    }

    async fn remember_version(
        &self,
        keychain: &Keychain,
        before: &Found,
        after: &Item,
    ) -> Result<(), StoreError> {
        if let Found::Sound(before) = before {
            let row = secret_version::Entity::sealed_row(keychain, Uuid::now_v7(), Item::clone(before));
            // What is there already under this number was put there from outside.
            let stale = secret_version::Entity::delete_many()
                .filter(secret_version::Column::Owner.eq(before.place.owner().as_str()))
                .filter(secret_version::Column::Name.eq(before.place.name()))
                .filter(secret_version::Column::Version.eq(row.version));
            stale.exec(&self.transaction).await?;
            insert::<secret_version::Entity>(&self.transaction, row).await?;
        }
        let forgotten = i64::try_from(crate::stores::core::forgotten(after.version)).unwrap_or(0);
        secret_version::Entity::delete_many()
            .filter(secret_version::Column::Owner.eq(after.place.owner().as_str()))
            .filter(secret_version::Column::Name.eq(after.place.name()))
            .filter(secret_version::Column::Version.lte(forgotten))
            .exec(&self.transaction)
            .await?;
        Ok(())
    }

    /// Ends the history of a damaged row at the newest version that is sound, and tells its number; 0 when there is none. What comes
    /// after it was put there from outside.
    pub(crate) async fn cut_history(
        &self,
        keychain: &Keychain,
        place: &Place,
    ) -> Result<Option<u64>, StoreError> {
        if place.store() != Store::Secrets {
            return Ok(Some(0));
        }
        let rows = secret_version::Entity::at(place).order_by_desc(secret_version::Column::Version);
        let rows = rows.limit(LOOKED_AT).all(&self.transaction).await?;
        let newest = rows.iter().find_map(|row| {
            let found = judged::<secret_version::Entity>(keychain, row);
            found.sound().filter(|item| item.place == *place).map(|item| item.version)
        });
        let newest = newest.unwrap_or(0);
        let Ok(number) = i64::try_from(newest) else { return Ok(None) };
        secret_version::Entity::delete_many()
            .filter(secret_version::Column::Owner.eq(place.owner().as_str()))
            .filter(secret_version::Column::Name.eq(place.name()))
            .filter(secret_version::Column::Version.gt(number))
            .exec(&self.transaction)
            .await?;
        Ok(Some(newest))
    }

    /// Removes what is at a place, with its history.
    pub(crate) async fn remove(&self, place: &Place) -> Result<(), StoreError> {
        let (owner, name) = (place.owner().as_str(), place.name());
        let transaction = &self.transaction;
        match place.store() {
            Store::Secrets => {
                let now = secret::Entity::delete_many()
                    .filter(secret::Column::Owner.eq(owner))
                    .filter(secret::Column::Name.eq(name));
                now.exec(transaction).await?;
                let before = secret_version::Entity::delete_many()
                    .filter(secret_version::Column::Owner.eq(owner))
                    .filter(secret_version::Column::Name.eq(name));
                before.exec(transaction).await?;
            }
            Store::AuthTokens => {
                let tokens = auth_token::Entity::delete_many()
                    .filter(auth_token::Column::UserId.eq(owner))
                    .filter(auth_token::Column::IdentityProvider.eq(name));
                tokens.exec(transaction).await?;
            }
            Store::OfflineTokens => {
                let token =
                    offline_token::Entity::delete_many().filter(offline_token::Column::UserId.eq(owner));
                token.exec(transaction).await?;
            }
        }
        Ok(())
    }

    /// The outcome kept under an `Idempotency-Key`.
    pub(crate) async fn find_idempotent(
        &self,
        keychain: &Keychain,
        (scope, key): (&str, &str),
        now: Time,
    ) -> Result<Option<IdempotencyRecord>, StoreError> {
        idempotency::find(&self.transaction, keychain, scope, key, now).await
    }

    /// Keeps an outcome for a retry.
    pub(crate) async fn remember(
        &self,
        keychain: &Keychain,
        record: &IdempotencyRecord,
    ) -> Result<(), StoreError> {
        idempotency::insert(&self.transaction, keychain, record).await
    }

    /// Puts the change on record and makes it so.
    pub(crate) async fn commit(self, record: Option<String>) -> Result<(), StoreError> {
        let event = record.and_then(EventRow::read);
        audit::insert(&self.transaction, event.as_slice()).await?;
        slow::commit(self.transaction).await?;
        Ok(())
    }
}

impl Turn {
    /// Whether anything that is stored is sealed under one of these versions. Until this change is over nothing more will be.
    pub(crate) async fn is_needed(&self, kids: &[String]) -> Result<bool, StoreError> {
        if kids.is_empty() {
            return Ok(false);
        }
        let transaction = self.transaction();
        if transaction.get_database_backend() != sea_orm::DbBackend::Sqlite {
            transaction.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({STORES_LOCK})")).await?;
        }
        Ok(has_any::<secret::Entity>(transaction, kids).await?
            || has_any::<secret_version::Entity>(transaction, kids).await?
            || has_any::<auth_token::Entity>(transaction, kids).await?
            || has_any::<offline_token::Entity>(transaction, kids).await?)
    }
}

async fn has_any<T: Table>(transaction: &DatabaseTransaction, kids: &[String]) -> Result<bool, StoreError> {
    let query = T::find().filter(T::KID.is_in(kids)).select_only().column(T::ID).limit(1);
    Ok(query.into_tuple::<String>().one(transaction).await?.is_some())
}

async fn insert<T: Table>(transaction: &DatabaseTransaction, row: T::Model) -> Result<bool, StoreError> {
    let insert = T::insert(row.into_active_model().reset_all());
    let there = OnConflict::new().do_nothing().to_owned();
    match insert.on_conflict(there).exec_without_returning(transaction).await {
        Ok(rows) => Ok(rows > 0),
        Err(DbErr::RecordNotInserted) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
