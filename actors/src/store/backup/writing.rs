//! A restored deployment, written in one transaction: all of it is there, or nothing.

use claviger_entity::tables::{change, revocation, ring_meta};
use claviger_migration::Migrator;
use sea_orm::{
    ConnectionTrait as _, DatabaseTransaction, EntityTrait as _, IntoActiveModel as _, Statement,
    TransactionTrait as _,
};
use sea_orm_migration::MigratorTrait as _;
use serde_json::Value;

use super::{
    super::{Database, EventRow, Restored, StoreError, audit, meta, rows, slow, tokens},
    BackupTable, LEFT_OUT, row,
};
use crate::{
    keyring::{Epoch, Position, record::Time},
    seal::{Keychain, mac_of_row},
    tokens::Revocation,
};

/// A restore under way.
pub(crate) struct Writing {
    transaction: DatabaseTransaction,
}

impl Database {
    /// Begins to write a deployment into an empty database; `None` when it is not empty.
    pub(crate) async fn begin_restore(&self) -> Result<Option<Writing>, StoreError> {
        let transaction = self.connection.begin_with_options(Self::writing()).await?;
        if self.is_shared() {
            transaction.execute_unprepared("SET LOCAL statement_timeout = 0").await?;
            transaction.execute_unprepared("SET LOCAL idle_in_transaction_session_timeout = 0").await?;
        }
        let tables = BackupTable::ALL.iter().map(|table| table.name());
        let left_out = LEFT_OUT.iter().map(|(name, _)| *name).filter(|name| *name != "seaql_migrations");
        for table in tables.chain(left_out) {
            let sql = format!("SELECT 1 AS one FROM {table} LIMIT 1");
            let statement = Statement::from_string(transaction.get_database_backend(), sql);
            if transaction.query_one_raw(statement).await?.is_some() {
                transaction.rollback().await?;
                return Ok(None);
            }
        }
        Ok(Some(Writing { transaction }))
    }

    /// Writes revocations that are newer than the backup, all of them at once.
    pub(crate) async fn revoke_again(
        &self,
        keychain: &Keychain,
        revocations: &[Revocation],
        at: Time,
    ) -> Result<(), StoreError> {
        let transaction = self.connection.begin_with_options(Self::writing()).await?;
        for revocation in revocations {
            tokens::insert(self, &transaction, keychain, (revocation, None), at).await?;
        }
        Ok(slow::commit(transaction).await?)
    }

    /// This release knows a schema.
    pub(crate) fn knows_schema(schema: &str) -> bool {
        Migrator::migrations().iter().any(|migration| migration.name() == schema)
    }

    /// Looks whether there is anything in the database that a restore would write beside.
    ///
    /// # Errors
    /// The database failed.
    pub async fn is_empty(&self) -> Result<bool, StoreError> {
        match self.begin_restore().await? {
            Some(writing) => {
                writing.transaction.rollback().await?;
                Ok(true)
            }
            None => Ok(false),
        }
    }
}

impl Writing {
    /// The row of the deployment, as it is from now on; answers with where the ring stands.
    pub(crate) async fn deployment(
        &self,
        keychain: &Keychain,
        (row, restored): (&ring_meta::Model, &Restored),
        (incarnation, record): (u32, &str),
    ) -> Result<Position, StoreError> {
        let before = meta::position(keychain, row)?;
        let counter = u32::try_from(before.epoch.counter()).map_err(|_| StoreError::MetaDamaged)?;
        // In the new incarnation the count goes on, and so does the hash: the history of before is its beginning.
        let same = Position { epoch: Epoch::new(incarnation, counter), head: before.head };
        let position = same.after(record);
        let mut row = row.clone();
        row.incarnation = incarnation.into();
        row.counter = i64::try_from(position.epoch.counter()).unwrap_or(i64::MAX);
        row.head_hash = position.head.to_vec();
        row.restored = Some(serde_json::to_string(restored)?);
        row.mac = mac_of_row(keychain, "ring_meta", &row).to_vec();
        ring_meta::Entity::insert(row.into_active_model()).exec_without_returning(&self.transaction).await?;
        Ok(position)
    }

    /// Rows of a table, as a backup has them.
    pub(crate) async fn rows(
        &self,
        keychain: &Keychain,
        table: BackupTable,
        (columns, rows): (&[String], &[Vec<Value>]),
    ) -> Result<(), StoreError> {
        if table != BackupTable::Revocations {
            return table.insert(&self.transaction, columns, rows).await;
        }
        let mut models = Vec::with_capacity(rows.len());
        for values in rows {
            let decoded = row::decode::<revocation::Entity, revocation::ActiveModel>(columns, values);
            let mut model = decoded.ok_or(StoreError::Conflict)?;
            if row::is_sound(keychain, table.name(), &model) {
                // Transactions are counted anew here, and whoever starts reads them all.
                model.xid = 0;
                model.mac = mac_of_row(keychain, table.name(), &model).to_vec();
            }
            models.push(model.into_active_model());
        }
        if !models.is_empty() {
            revocation::Entity::insert_many(models).exec_without_returning(&self.transaction).await?;
        }
        Ok(())
    }

    /// Puts the restore on record and commits all of it.
    pub(crate) async fn commit(
        self,
        position: &Position,
        (at, actor, record): (Time, &str, String),
    ) -> Result<(), StoreError> {
        let line = change::Model {
            epoch: rows::epoch(position.epoch),
            ordinal: 0,
            at: rows::millis(at),
            kind: "restore.restored".to_owned(),
            object: Some("deployment".to_owned()),
            key_name: None,
            version: None,
            kid: None,
            state: None,
            previous_version: None,
            reason: None,
            actor: actor.to_owned(),
            record: record.clone(),
            head_hash: position.head.to_vec(),
        };
        change::Entity::insert(line.into_active_model()).exec_without_returning(&self.transaction).await?;
        audit::insert(&self.transaction, EventRow::read(record).as_slice()).await?;
        Ok(slow::commit(self.transaction).await?)
    }

    /// Gives it up: nothing was written.
    pub(crate) async fn give_up(self) -> Result<(), StoreError> {
        Ok(self.transaction.rollback().await?)
    }
}
