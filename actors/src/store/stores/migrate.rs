//! Rows from one version of the key to another, some at a time.

use claviger_entity::tables::{auth_token, offline_token, secret, secret_version};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, EntityTrait as _, IntoActiveModel as _, PaginatorTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _,
    sea_query::{LockBehavior, LockType},
};

use super::{
    StoresTurn,
    reading::{Found, judged},
    tables::Table,
};
use crate::{
    seal::Keychain,
    store::{Database, StoreError},
    stores::Item,
};

/// Which table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Secrets,
    SecretVersions,
    AuthTokens,
    OfflineTokens,
}

impl Scope {
    /// Every table of sealed values.
    pub(crate) const ALL: [Self; 4] =
        [Self::Secrets, Self::SecretVersions, Self::AuthTokens, Self::OfflineTokens];
}

/// Which rows of a table come next.
pub(crate) struct Batch<'a> {
    /// The table.
    pub(crate) scope: Scope,
    /// Those that are sealed under one of these.
    pub(crate) kids: &'a [String],
    /// Those after the row with this id.
    pub(crate) after: &'a str,
    /// So many.
    pub(crate) limit: u64,
}

/// What came of a batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    /// Rows that are sealed anew.
    pub(crate) moved: u64,
    /// Rows that could not be read; they are as they were.
    pub(crate) failed: u64,
    /// Id of the last row; absent when there was none.
    pub(crate) last: Option<String>,
}

macro_rules! in_scope {
    ($scope:expr, $table:ident => $do:expr) => {
        match $scope {
            Scope::Secrets => {
                type $table = secret::Entity;
                $do
            }
            Scope::SecretVersions => {
                type $table = secret_version::Entity;
                $do
            }
            Scope::AuthTokens => {
                type $table = auth_token::Entity;
                $do
            }
            Scope::OfflineTokens => {
                type $table = offline_token::Entity;
                $do
            }
        }
    };
}

impl Database {
    /// How many rows are sealed under one of these.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn stored_under(&self, kids: &[String]) -> Result<u64, StoreError> {
        let mut count = 0;
        if !kids.is_empty() {
            for scope in Scope::ALL {
                count += in_scope!(scope, T => T::find().filter(T::KID.is_in(kids)).count(&self.connection).await?);
            }
        }
        Ok(count)
    }

    /// How many rows there are.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn stored_rows(&self) -> Result<u64, StoreError> {
        let mut count = 0;
        for scope in Scope::ALL {
            count += in_scope!(scope, T => T::find().count(&self.connection).await?);
        }
        Ok(count)
    }
}

impl StoresTurn {
    /// Seals a batch of rows anew. Rows that somebody else is changing are passed over: what they write is sealed anew anyway.
    pub(crate) async fn migrate(
        &self,
        keychain: &Keychain,
        batch: &Batch<'_>,
        reseal: &(dyn Fn(&Item) -> Option<Item> + Sync),
    ) -> Result<Moved, StoreError> {
        in_scope!(batch.scope, T => self.migrate_in::<T>(keychain, batch, reseal).await)
    }

    async fn migrate_in<T: Table>(
        &self,
        keychain: &Keychain,
        batch: &Batch<'_>,
        reseal: &(dyn Fn(&Item) -> Option<Item> + Sync),
    ) -> Result<Moved, StoreError> {
        let query = T::find()
            .filter(T::KID.is_in(batch.kids))
            .filter(T::ID.gt(batch.after))
            .order_by_asc(T::ID)
            .limit(batch.limit)
            .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked);
        let rows = query.all(&self.transaction).await?;
        let mut done = Moved::default();
        for row in rows {
            let (id, version, _) = T::facts(&row);
            let (id, version) = (id.to_owned(), version);
            done.last = Some(id.clone());
            let resealed = match judged::<T>(keychain, &row) {
                Found::Sound(item) => reseal(&item),
                Found::Damaged(..) => None,
            };
            let (Some(item), Ok(row_id)) = (resealed, id.parse()) else {
                done.failed += 1;
                continue;
            };
            let kid = T::KID.is_in(batch.kids);
            let row = T::sealed_row(keychain, row_id, item).into_active_model().reset_all();
            // The row is ours, and still is what was read: the condition costs nothing and says so.
            let update = T::update_many().set(row).filter(T::ID.eq(&id)).filter(kid);
            let updated = update.filter(T::VERSION.eq(version)).exec(&self.transaction).await?;
            done.moved += updated.rows_affected;
        }
        Ok(done)
    }
}
