//! The database as it is at one moment, read to its end however long that takes.

use claviger_entity::tables::ring_meta;
use claviger_migration::Migrator;
use sea_orm::{
    AccessMode, ConnectionTrait as _, DatabaseTransaction, EntityTrait as _, IsolationLevel,
    TransactionTrait as _, Value as Column,
};
use sea_orm_migration::MigratorTrait as _;

use super::{
    super::{Database, Restored, StoreError, meta},
    BackupTable, Rows,
};
use crate::{keyring::Position, seal::Keychain};

/// A reading under way. It holds nobody up: PostgreSQL and SQLite (WAL) let others write meanwhile.
pub(crate) struct Reading {
    transaction: DatabaseTransaction,
    /// Where the ring stands in it.
    pub(crate) position: Position,
    /// The schema.
    pub(crate) schema: String,
    /// It was restored and is not released yet.
    pub(crate) restored: Option<Restored>,
    /// Rows of each table.
    pub(crate) counts: Vec<(BackupTable, u64)>,
}

impl Database {
    /// Begins to read everything as it is now.
    pub(crate) async fn begin_reading(&self, keychain: &Keychain) -> Result<Reading, StoreError> {
        let transaction = if self.is_shared() {
            let (isolation, access) = (IsolationLevel::RepeatableRead, AccessMode::ReadOnly);
            let transaction = self.connection.begin_with_config(Some(isolation), Some(access)).await?;
            // It writes to whoever takes their time, and takes no lock that anybody waits for.
            transaction.execute_unprepared("SET LOCAL statement_timeout = 0").await?;
            transaction.execute_unprepared("SET LOCAL idle_in_transaction_session_timeout = 0").await?;
            transaction
        } else {
            self.connection.begin().await?
        };
        let row = ring_meta::Entity::find_by_id(1).one(&transaction).await?.ok_or(StoreError::MetaDamaged)?;
        let (position, restored) = (meta::position(keychain, &row)?, meta::restored(&row)?);
        // What serves here has brought the schema up to date; a role that serves may not even look.
        let schema = Migrator::migrations().last().map(|migration| migration.name().to_owned());
        let mut counts = Vec::with_capacity(BackupTable::ALL.len());
        for table in BackupTable::ALL {
            counts.push((*table, table.count(&transaction).await?));
        }
        Ok(Reading { transaction, position, schema: schema.unwrap_or_default(), restored, counts })
    }
}

impl Reading {
    /// The next rows of a table behind a primary key, and the primary key of the last of them.
    pub(crate) async fn page(
        &self,
        keychain: &Keychain,
        table: BackupTable,
        (after, limit): (Option<&[Column]>, u64),
    ) -> Result<(Rows, Option<Vec<Column>>), StoreError> {
        table.page(&self.transaction, keychain, (after, limit)).await
    }

    /// Ends it.
    pub(crate) async fn end(self) -> Result<(), StoreError> {
        Ok(self.transaction.rollback().await?)
    }
}
