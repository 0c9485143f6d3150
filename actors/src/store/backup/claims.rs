//! Which node makes a backup that is due: whoever comes first.

use claviger_entity::tables::backup::{self, Column};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, EntityTrait as _, IntoActiveModel as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, TransactionTrait as _, sea_query::OnConflict,
};

use super::super::{Database, StoreError, retry, rows, slow};
use crate::{
    keyring::{Epoch, record::Time},
    seal::{Keychain, mac_of_row},
};

/// A node that has not finished after so long is thought to be gone, in milliseconds.
const GIVEN_UP_MS: i64 = 3_600_000;
/// How long it is remembered which were made, in milliseconds.
const REMEMBERED_MS: i64 = 400 * 86_400_000;
const TABLE: &str = "backups";

impl Database {
    /// Takes it upon a node to make the backup of a moment; `false` when another one makes it, or has.
    ///
    /// # Errors
    /// The database failed.
    pub async fn claim_backup(
        &self,
        keychain: &Keychain,
        (slot, node): (Time, &str),
        now: Time,
    ) -> Result<bool, StoreError> {
        let (transaction, is_ours) = retry::retried(|| async {
            let transaction = self.connection.begin_with_options(Self::writing()).await?;
            let (slot, now) = (rows::millis(slot), rows::millis(now));
            backup::Entity::delete_many()
                .filter(Column::Slot.lt(now - REMEMBERED_MS))
                .exec(&transaction)
                .await?;
            let ours = signed(
                keychain,
                backup::Model {
                    slot,
                    node: node.to_owned(),
                    started_at: now,
                    finished_at: None,
                    epoch: None,
                    row_count: None,
                    bytes: None,
                    mac: Vec::new(),
                },
            );
            let there = OnConflict::column(Column::Slot).do_nothing().to_owned();
            let insert = backup::Entity::insert(ours.clone().into_active_model()).on_conflict(there);
            let mut is_ours = insert.exec_without_returning(&transaction).await? == 1;
            if !is_ours {
                let found = backup::Entity::find_by_id(slot).lock_exclusive().one(&transaction).await?;
                // One that was edited outside the service says nothing.
                let is_free = |row: &backup::Model| {
                    !is_sound(keychain, row)
                        || row.finished_at.is_none() && row.started_at < now - GIVEN_UP_MS
                };
                if found.as_ref().is_some_and(is_free) {
                    ours.into_active_model().reset_all().update(&transaction).await?;
                    is_ours = true;
                }
            }
            Ok((transaction, is_ours))
        })
        .await?;
        slow::commit(transaction).await?;
        Ok(is_ours)
    }

    /// Takes down that a backup is where it should be.
    ///
    /// # Errors
    /// The database failed.
    pub async fn finish_backup(
        &self,
        keychain: &Keychain,
        (slot, now): (Time, Time),
        (epoch, rows, bytes): (Epoch, u64, u64),
    ) -> Result<(), StoreError> {
        let row = backup::Entity::find_by_id(rows::millis(slot)).one(&self.connection).await?;
        let count = |number: u64| Some(i64::try_from(number).unwrap_or(i64::MAX));
        let row = backup::Model {
            finished_at: Some(rows::millis(now)),
            epoch: Some(rows::epoch(epoch)),
            row_count: count(rows),
            bytes: count(bytes),
            ..row.ok_or(StoreError::Conflict)?
        };
        signed(keychain, row).into_active_model().reset_all().update(&self.connection).await?;
        Ok(())
    }

    /// When the last backup by the schedule was finished, in milliseconds.
    ///
    /// # Errors
    /// The database failed.
    pub async fn last_backup(&self, keychain: &Keychain) -> Result<Option<i64>, StoreError> {
        let newest = backup::Entity::find()
            .filter(Column::FinishedAt.is_not_null())
            .order_by_desc(Column::FinishedAt)
            .limit(10)
            .all(&self.connection)
            .await?;
        Ok(newest.iter().find(|row| is_sound(keychain, row)).and_then(|row| row.finished_at))
    }
}

fn is_sound(keychain: &Keychain, row: &backup::Model) -> bool {
    claviger_crypto::digest::ct_eq(&mac_of_row(keychain, TABLE, row), &row.mac)
}

fn signed(keychain: &Keychain, mut row: backup::Model) -> backup::Model {
    row.mac = mac_of_row(keychain, TABLE, &row).to_vec();
    row
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use claviger_crypto::secret::SecretBytes;

    use super::*;
    use crate::{seal::MasterKeys, store::Place};

    #[actix::test]
    async fn one_node_makes_a_backup_and_another_when_that_one_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(Place::File(&folder.path().join("db"))).await.unwrap();
        let masters = MasterKeys::new(vec![SecretBytes::new(vec![7; 32])]).unwrap();
        let at = |minutes| DateTime::from_timestamp(1_800_000_000, 0).unwrap() + TimeDelta::minutes(minutes);
        let keychain = database.open_deployment(&masters, at(0)).await.unwrap().keychain;
        let claim =
            async |node, minutes| database.claim_backup(&keychain, (at(0), node), at(minutes)).await.unwrap();
        assert!(claim("a", 0).await);
        assert!(!claim("b", 1).await && !claim("a", 1).await);
        assert!(claim("b", 61).await);
        assert_eq!(database.last_backup(&keychain).await.unwrap(), None);
        database.finish_backup(&keychain, (at(0), at(62)), (Epoch(7), 1, 2)).await.unwrap();
        assert!(!claim("a", 500).await);
        assert_eq!(database.last_backup(&keychain).await.unwrap(), Some(at(62).timestamp_millis()));
    }
}
