//! Masters, data-encryption keys, and what is sealed under them.

use claviger_crypto::{digest, secret::SecretBytes};
use claviger_entity::tables::{data_key, node, old_master, rekey, ring_meta};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, ConnectionTrait, EntityTrait as _, IntoActiveModel as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, TransactionTrait as _,
};
use uuid::Uuid;

use super::{Database, EventRow, NodeRow, StoreError, Turn, audit, meta, rows, slow};
use crate::{
    keyring::record::Time,
    seal::{self, DataKeyPurpose, Kek, Keychain, MasterKeys, OldMaster, SealError, Standing, mac_of_row},
};

/// How far rows have moved to a data-encryption key.
pub type Rekey = rekey::Model;

/// What the database says of masters and data-encryption keys.
#[derive(Debug, Clone)]
pub struct SealView {
    /// Which data-encryption key seals, and how often that has changed.
    pub standing: Standing,
    /// The key that will seal once every node has it.
    pub next: Option<Uuid>,
    /// Number of the master in use.
    pub master_version: i64,
    /// Since when.
    pub master_since: i64,
    /// Data-encryption keys, those of before included.
    pub data_keys: usize,
    /// The last move of rows. One whose row was edited is not done, whatever the row says.
    pub rekey: Option<Rekey>,
}

impl Database {
    /// The row of the deployment and its data-encryption keys, as of one moment.
    pub(super) async fn seal_rows(&self) -> Result<(ring_meta::Model, Vec<data_key::Model>), StoreError> {
        let transaction = self.reading().await?;
        let meta = ring_meta::Entity::find_by_id(1).one(&transaction).await?;
        let data_keys = data_key::Entity::find().all(&transaction).await?;
        transaction.rollback().await?;
        Ok((meta.ok_or(StoreError::MetaDamaged)?, data_keys))
    }

    /// Brings a keychain to what the database has. One that lacks the master in use is locked until it does not any more.
    ///
    /// # Errors
    /// [`SealError::WrongMaster`]; a row was altered; the database failed.
    pub async fn adopt_keys(&self, keychain: &Keychain, masters: &MasterKeys) -> Result<(), StoreError> {
        let (meta, data_keys) = self.seal_rows().await?;
        meta::judge(keychain, &meta)?;
        match masters.fitting(keychain.deployment(), &meta.key_check) {
            Ok(kek) => Ok(keychain.adopt(&kek, &data_keys, &standing(&meta)?)?),
            Err(error) => {
                if error == SealError::WrongMaster {
                    keychain.lock();
                }
                Err(error.into())
            }
        }
    }

    /// What the database says of masters and data-encryption keys.
    ///
    /// # Errors
    /// The database failed or was edited.
    pub async fn seal_view(&self, keychain: &Keychain) -> Result<SealView, StoreError> {
        let (meta, data_keys) = self.seal_rows().await?;
        meta::judge(keychain, &meta)?;
        let rekey = match rekey_target(&meta) {
            Some(target) => {
                let found = rekey::Entity::find_by_id(target).one(&self.connection).await?;
                Some(judged(keychain, target, found))
            }
            None => None,
        };
        let is_seal = |row: &&data_key::Model| row.purpose == DataKeyPurpose::Seal.as_str();
        Ok(SealView {
            standing: standing(&meta)?,
            next: id(meta.data_key_next.as_deref())?,
            master_version: meta.master_version.unwrap_or(1),
            master_since: meta.master_since.unwrap_or(meta.created_at),
            data_keys: data_keys.iter().filter(is_seal).count(),
            rekey,
        })
    }

    /// The key-encryption key in use among some masters, whether that of the newest of them is another, and the secret in use.
    ///
    /// # Errors
    /// [`SealError::WrongMaster`]; the database failed.
    pub async fn master_in_use(
        &self,
        keychain: &Keychain,
        masters: &MasterKeys,
    ) -> Result<(Kek, SecretBytes), StoreError> {
        let (meta, _) = self.seal_rows().await?;
        meta::judge(keychain, &meta)?;
        let (kek, secret) = masters.in_use(keychain.deployment(), &meta.key_check)?;
        Ok((kek, secret.clone()))
    }

    /// Takes down that rows were looked at which could not be opened.
    pub(crate) async fn rekey_failed(
        &self,
        keychain: &Keychain,
        target: Uuid,
        failed: u64,
    ) -> Result<(), StoreError> {
        let failed = i64::try_from(failed).unwrap_or(i64::MAX);
        let row = rekey::Entity::find_by_id(target.to_string()).one(&self.connection).await?;
        if row.is_none_or(|row| row.failed == failed) {
            return Ok(());
        }
        let transaction = self.connection.begin_with_options(Self::writing()).await?;
        change_rekey(&transaction, keychain, target, |row| row.failed = failed).await?;
        Ok(slow::commit(transaction).await?)
    }

    /// Takes down, once, that nothing is left to move; `true` for whoever was first.
    pub(crate) async fn finish_rekey(
        &self,
        keychain: &Keychain,
        target: Uuid,
        (now, record): (Time, &str),
    ) -> Result<bool, StoreError> {
        let transaction = self.connection.begin_with_options(Self::writing()).await?;
        let mut is_first = false;
        change_rekey(&transaction, keychain, target, |row| {
            is_first = row.finished_at.is_none();
            if is_first {
                // Some were sealed anew, or removed, by whoever had to do with them; nobody counted those.
                row.done = row.total.saturating_sub(row.failed).max(0);
                row.finished_at = Some(rows::millis(now));
                row.updated_at = rows::millis(now);
            }
        })
        .await?;
        if is_first {
            audit::insert(&transaction, EventRow::read(record.to_owned()).as_slice()).await?;
        }
        slow::commit(transaction).await?;
        Ok(is_first)
    }

    /// The key-encryption key in use, and the masters of before that are kept under it, newest first.
    ///
    /// # Errors
    /// [`SealError::WrongMaster`]: none of these masters is in use; there is no deployment; the database failed.
    pub async fn old_masters(&self, masters: &MasterKeys) -> Result<(Kek, Vec<OldMaster>), StoreError> {
        let (meta, _) = self.seal_rows().await?;
        let deployment = meta.deployment_id.parse().map_err(|_| StoreError::MetaDamaged)?;
        let kek = masters.fitting(deployment, &meta.key_check)?;
        let newest_first = old_master::Entity::find().order_by_desc(old_master::Column::Version);
        Ok((kek, newest_first.all(&self.connection).await?))
    }

    /// Puts on record what is done with the database itself, by nobody's request; before it is done.
    ///
    /// # Errors
    /// The database failed.
    pub async fn record_by_hand(&self, record: String) -> Result<(), StoreError> {
        audit::insert(&self.connection, EventRow::read(record).as_slice()).await
    }

    /// Removes a master of before; `false` when it is not kept.
    ///
    /// # Errors
    /// The database failed.
    pub async fn remove_old_master(&self, fingerprint: &str, record: String) -> Result<bool, StoreError> {
        let transaction = self.connection.begin_with_options(Self::writing()).await?;
        let removed = old_master::Entity::delete_by_id(fingerprint).exec(&transaction).await?;
        if removed.rows_affected == 0 {
            transaction.rollback().await?;
            return Ok(false);
        }
        audit::insert(&transaction, EventRow::read(record).as_slice()).await?;
        slow::commit(transaction).await?;
        Ok(true)
    }
}

/// The data-encryption key that rows move to, or have moved to last.
fn rekey_target(meta: &ring_meta::Model) -> Option<&str> {
    // A deployment whose master was never rotated names none.
    meta.data_key_next.as_deref().or(meta.data_key.as_deref())
}

/// The row of a move as far as it can be believed. What was edited, removed, or written without a MAC is taken for a move that is not done:
/// then all rows are looked at again, and it is written anew.
fn judged(keychain: &Keychain, target: &str, found: Option<Rekey>) -> Rekey {
    if let Some(row) = found {
        let is_sound = row.mac.as_ref().is_some_and(|mac| digest::ct_eq(&rekey_mac(keychain, &row), mac));
        if is_sound {
            return row;
        }
        if row.mac.is_some() {
            tracing::error!(
                data_key = target,
                "a row of rekeys was changed outside the service, or by a node of the release before; all sealed rows are looked at again"
            );
        }
    } else {
        tracing::error!(data_key = target, "a row of rekeys is gone; all sealed rows are looked at again");
    }
    Rekey {
        data_key: target.to_owned(),
        total: 0,
        done: 0,
        failed: 0,
        started_at: 0,
        updated_at: 0,
        finished_at: None,
        mac: None,
    }
}

fn rekey_mac(keychain: &Keychain, row: &Rekey) -> [u8; 32] {
    mac_of_row(keychain, "rekeys", row)
}

/// Changes the row of a move, as the last thing of a transaction: whoever counts at the same time waits.
async fn change_rekey(
    connection: &impl ConnectionTrait,
    keychain: &Keychain,
    target: Uuid,
    change: impl FnOnce(&mut Rekey),
) -> Result<(), StoreError> {
    let target = target.to_string();
    let found = rekey::Entity::find_by_id(target.as_str()).lock_exclusive().one(connection).await?;
    let is_there = found.is_some();
    let mut row = judged(keychain, &target, found);
    change(&mut row);
    row.mac = Some(rekey_mac(keychain, &row).to_vec());
    let row = row.into_active_model().reset_all();
    if is_there {
        row.update(connection).await?;
    } else {
        rekey::Entity::insert(row).exec_without_returning(connection).await?;
    }
    Ok(())
}

impl Turn {
    /// The master in use is that of this key-encryption key.
    #[must_use]
    pub fn is_under(&self, kek: &Kek) -> bool {
        kek.opens(&self.meta.key_check)
    }

    /// Rows are still moving to another data-encryption key, or are about to.
    ///
    /// # Errors
    /// The database failed.
    pub async fn is_rekeying(&self, keychain: &Keychain) -> Result<bool, StoreError> {
        if self.meta.data_key_next.is_some() {
            return Ok(true);
        }
        let Some(target) = rekey_target(&self.meta) else { return Ok(false) };
        let found = rekey::Entity::find_by_id(target).one(&self.transaction).await?;
        Ok(judged(keychain, target, found).finished_at.is_none())
    }

    /// Every node that has entered and not left.
    ///
    /// # Errors
    /// The database failed.
    pub async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        Ok(node::Entity::find().all(&self.transaction).await?)
    }

    /// Number that the next master will have.
    #[must_use]
    pub fn next_master(&self) -> i64 {
        self.meta.master_version.unwrap_or(1).saturating_add(1)
    }

    /// Puts another master in use: all data-encryption keys are wrapped by it and no more by the one of before, which is kept sealed under it, with
    /// those that were kept already; and a new data-encryption key is offered.
    ///
    /// # Errors
    /// A row was altered; the database failed. Of an error at the very end nobody can know whether it is in use.
    pub async fn rotate_master(
        mut self,
        keychain: &Keychain,
        (from, secret, to): (&Kek, &SecretBytes, &Kek),
        (now, record): (Time, String),
    ) -> Result<(), StoreError> {
        let transaction = &self.transaction;
        let replaced = (self.meta.master_version.unwrap_or(1), rows::millis(now));
        keep_masters(transaction, (from, secret, to), replaced).await?;
        for row in data_key::Entity::find().all(transaction).await? {
            let row = from.rewrap(to, &row)?;
            row.into_active_model().reset_all().update(transaction).await?;
        }
        let offered = seal::fresh(to, DataKeyPurpose::Seal, rows::millis(now))?;
        self.meta.key_check = to.key_check()?;
        self.meta.master_version = Some(self.next_master());
        self.meta.master_since = Some(rows::millis(now));
        // Named, so that the newer one is not taken for it.
        self.meta.data_key.get_or_insert_with(|| keychain.current().to_string());
        self.meta.data_key_next = Some(offered.id.clone());
        self.meta.seal_revision = Some(self.meta.seal_revision.unwrap_or(0) + 1);
        let mut moving = Rekey {
            data_key: offered.id.clone(),
            total: 0,
            done: 0,
            failed: 0,
            started_at: rows::millis(now),
            updated_at: rows::millis(now),
            finished_at: None,
            mac: None,
        };
        moving.mac = Some(rekey_mac(keychain, &moving).to_vec());
        rekey::Entity::insert(moving.into_active_model()).exec_without_returning(transaction).await?;
        data_key::Entity::insert(offered.into_active_model()).exec_without_returning(transaction).await?;
        audit::insert(transaction, EventRow::read(record).as_slice()).await?;
        meta::write(transaction, keychain, self.meta).await?;
        Ok(slow::commit(self.transaction).await?)
    }

    /// Seals under the data-encryption key that was offered; `false` when another node has seen to it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn use_offered(
        mut self,
        keychain: &Keychain,
        offered: Uuid,
        (now, total): (Time, u64),
    ) -> Result<bool, StoreError> {
        if id(self.meta.data_key_next.as_deref())? != Some(offered) {
            self.transaction.rollback().await?;
            return Ok(false);
        }
        self.meta.data_key = self.meta.data_key_next.take();
        self.meta.seal_revision = Some(self.meta.seal_revision.unwrap_or(0) + 1);
        let total = i64::try_from(total).unwrap_or(i64::MAX);
        change_rekey(&self.transaction, keychain, offered, |row| {
            row.total = total;
            row.started_at = rows::millis(now);
            row.updated_at = rows::millis(now);
        })
        .await?;
        meta::write(&self.transaction, keychain, self.meta).await?;
        slow::commit(self.transaction).await?;
        Ok(true)
    }
}

/// What the row of the deployment says of data-encryption keys.
pub(super) fn standing(meta: &ring_meta::Model) -> Result<Standing, StoreError> {
    Ok(Standing { revision: meta.seal_revision.unwrap_or(0), current: id(meta.data_key.as_deref())? })
}

fn id(text: Option<&str>) -> Result<Option<Uuid>, StoreError> {
    text.map(|text| text.parse().map_err(|_| StoreError::MetaDamaged)).transpose()
}

/// Keeps the master of before under the new one, and moves those that were kept already. One that can't be opened stays as it is: it opens for
/// nobody, and must not keep the master from being replaced.
async fn keep_masters(
    connection: &impl ConnectionTrait,
    (from, secret, to): (&Kek, &SecretBytes, &Kek),
    replaced: (i64, i64),
) -> Result<(), StoreError> {
    for row in old_master::Entity::find().all(connection).await? {
        match from.old_master(&row) {
            Ok(old) => {
                let row = to.keep_old((&old, &row.fingerprint), (row.version, row.replaced_at))?;
                row.into_active_model().reset_all().update(connection).await?;
            }
            Err(error) => {
                tracing::error!(fingerprint = row.fingerprint, %error, "a master of before was changed in the database and can't be opened");
            }
        }
    }
    // It may have been in use before, and been put in use again.
    old_master::Entity::delete_many()
        .filter(old_master::Column::Fingerprint.is_in([from.fingerprint(), to.fingerprint()]))
        .exec(connection)
        .await?;
    let row = to.keep_old((secret, from.fingerprint()), replaced)?;
    old_master::Entity::insert(row.into_active_model()).exec_without_returning(connection).await?;
    Ok(())
}

/// Counts a step of a move in its own transaction.
pub(super) async fn moved(
    connection: &impl ConnectionTrait,
    keychain: &Keychain,
    target: Uuid,
    (now, done): (Time, u64),
) -> Result<(), StoreError> {
    if done == 0 {
        return Ok(());
    }
    let done = i64::try_from(done).unwrap_or(i64::MAX);
    change_rekey(connection, keychain, target, |row| {
        row.done = row.done.saturating_add(done);
        row.updated_at = rows::millis(now);
    })
    .await
}
