//! Masters, data-encryption keys, and what is sealed under them.

use claviger_entity::tables::{data_key, node, rekey, ring_meta};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, ConnectionTrait, EntityTrait as _, IntoActiveModel as _,
    QueryFilter as _, QueryOrder as _, Set, TransactionTrait as _,
    sea_query::{Expr, ExprTrait as _},
};
use uuid::Uuid;

use super::{Database, EventRow, NodeRow, StoreError, Turn, audit, meta, rows, slow};
use crate::{
    keyring::record::Time,
    seal::{self, DataKeyPurpose, Kek, Keychain, MasterKeys, SealError, Standing},
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
    /// The last move of rows.
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
        let rekey = rekey::Entity::find().order_by_desc(rekey::Column::StartedAt);
        let rekey = rekey.order_by_desc(rekey::Column::DataKey).one(&self.connection).await?;
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
    ) -> Result<(Kek, claviger_crypto::secret::SecretBytes), StoreError> {
        let (meta, _) = self.seal_rows().await?;
        meta::judge(keychain, &meta)?;
        let (kek, secret) = masters.in_use(keychain.deployment(), &meta.key_check)?;
        Ok((kek, secret.clone()))
    }

    /// Takes down that rows were looked at which could not be opened.
    pub(crate) async fn rekey_failed(&self, target: Uuid, failed: u64) -> Result<(), StoreError> {
        rekey::Entity::update_many()
            .col_expr(rekey::Column::Failed, Expr::value(i64::try_from(failed).unwrap_or(i64::MAX)))
            .filter(rekey::Column::DataKey.eq(target.to_string()))
            .exec(&self.connection)
            .await?;
        Ok(())
    }

    /// Takes down, once, that nothing is left to move; `true` for whoever was first.
    pub(crate) async fn finish_rekey(
        &self,
        target: Uuid,
        now: Time,
        record: &str,
    ) -> Result<bool, StoreError> {
        let transaction = self.connection.begin_with_options(Self::writing()).await?;
        // Some were sealed anew, or removed, by whoever had to do with them; nobody counted those.
        let rest = Expr::col(rekey::Column::Total).sub(Expr::col(rekey::Column::Failed));
        let finished = rekey::Entity::update_many()
            .col_expr(rekey::Column::Done, rest)
            .col_expr(rekey::Column::FinishedAt, Expr::value(Some(rows::millis(now))))
            .col_expr(rekey::Column::UpdatedAt, Expr::value(rows::millis(now)))
            .filter(rekey::Column::DataKey.eq(target.to_string()))
            .filter(rekey::Column::FinishedAt.is_null())
            .exec(&transaction)
            .await?;
        let is_first = finished.rows_affected == 1;
        if is_first {
            audit::insert(&transaction, EventRow::read(record.to_owned()).as_slice()).await?;
        }
        slow::commit(transaction).await?;
        Ok(is_first)
    }
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
    pub async fn is_rekeying(&self) -> Result<bool, StoreError> {
        if self.meta.data_key_next.is_some() {
            return Ok(true);
        }
        let unfinished = rekey::Entity::find().filter(rekey::Column::FinishedAt.is_null());
        Ok(unfinished.one(&self.transaction).await?.is_some())
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

    /// Puts another master in use: all data-encryption keys are wrapped by it and no more by the one of before, and a new one is offered.
    ///
    /// # Errors
    /// A row was altered; the database failed. Of an error at the very end nobody can know whether it is in use.
    pub async fn rotate_master(
        mut self,
        keychain: &Keychain,
        (from, to): (&Kek, &Kek),
        (now, record): (Time, String),
    ) -> Result<(), StoreError> {
        let transaction = &self.transaction;
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
        let moving = rekey::ActiveModel {
            data_key: Set(offered.id.clone()),
            total: Set(0),
            done: Set(0),
            failed: Set(0),
            started_at: Set(rows::millis(now)),
            updated_at: Set(rows::millis(now)),
            finished_at: Set(None),
        };
        rekey::Entity::insert(moving).exec_without_returning(transaction).await?;
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
        rekey::Entity::update_many()
            .col_expr(rekey::Column::Total, Expr::value(i64::try_from(total).unwrap_or(i64::MAX)))
            .col_expr(rekey::Column::StartedAt, Expr::value(rows::millis(now)))
            .col_expr(rekey::Column::UpdatedAt, Expr::value(rows::millis(now)))
            .filter(rekey::Column::DataKey.eq(offered.to_string()))
            .exec(&self.transaction)
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

/// Counts a step of a move in its own transaction.
pub(super) async fn moved(
    connection: &impl ConnectionTrait,
    target: Uuid,
    (now, done): (Time, u64),
) -> Result<(), StoreError> {
    if done == 0 {
        return Ok(());
    }
    let done = i64::try_from(done).unwrap_or(i64::MAX);
    rekey::Entity::update_many()
        .col_expr(rekey::Column::Done, Expr::col(rekey::Column::Done).add(done))
        .col_expr(rekey::Column::UpdatedAt, Expr::value(rows::millis(now)))
        .filter(rekey::Column::DataKey.eq(target.to_string()))
        .exec(connection)
        .await?;
    Ok(())
}
