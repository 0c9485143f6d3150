//! The deployment: made once, then opened.

use claviger_entity::tables::{data_key, ring_meta};
use sea_orm::{
    ActiveModelTrait as _, ConnectionTrait, EntityTrait as _, IntoActiveModel as _, TransactionTrait as _,
    sea_query::OnConflict,
};
use uuid::Uuid;

use super::{Database, StoreError, Turn, rows, seal, slow};
use crate::{
    keyring::{Epoch, Position, record::Time},
    seal::{Keychain, MasterKeys, mac_of_row},
};

/// An open deployment.
pub struct Deployment {
    /// Its data-encryption keys.
    pub keychain: Keychain,
    /// It has had its first administrator.
    pub bootstrapped: bool,
    /// `iss` of its tokens, once known.
    pub issuer: Option<String>,
    /// It was restored from a backup and is not released yet.
    pub restored: Option<Restored>,
}

/// A deployment that was restored from a backup and serves only what can do no harm until an operator has released it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Restored {
    /// When.
    pub at: Time,
    /// Epoch of the backup.
    pub backup: Epoch,
    /// When the backup was made.
    pub made_at: Time,
    /// All that belongs to the restore has been done; nobody serves before.
    pub complete: bool,
}

impl Database {
    /// Opens the deployment, or makes it.
    ///
    /// # Errors
    /// [`SealError::WrongMaster`], before anything is written; [`StoreError::MetaDamaged`]; the database failed.
    pub async fn open_deployment(&self, masters: &MasterKeys, now: Time) -> Result<Deployment, StoreError> {
        match ring_meta::Entity::find_by_id(1).one(&self.connection).await? {
            Some(_) => self.open_existing(masters).await,
            None => self.create_deployment(masters, now).await,
        }
    }

    /// Opens the keys of a deployment that is there, to read it beside those who serve it.
    ///
    /// # Errors
    /// As [`Self::open_deployment`].
    pub async fn open_to_read(&self, masters: &MasterKeys) -> Result<Keychain, StoreError> {
        Ok(self.open_existing(masters).await?.keychain)
    }

    async fn open_existing(&self, masters: &MasterKeys) -> Result<Deployment, StoreError> {
        // Both as of one moment: a rotation writes both.
        let (meta, data_keys) = self.seal_rows().await?;
        let keychain = open_keychain(masters, &meta, &data_keys)?;
        let restored = restored(&meta)?;
        Ok(Deployment { keychain, bootstrapped: meta.bootstrapped, issuer: meta.issuer, restored })
    }

    /// Takes down that a restore is complete.
    ///
    /// # Errors
    /// The database failed, or holds no restored deployment.
    pub async fn complete_restore(&self, keychain: &Keychain) -> Result<(), StoreError> {
        let Turn { transaction, mut meta, .. } = self.take_turn(keychain).await?;
        let restored = restored(&meta)?.ok_or(StoreError::Conflict)?;
        meta.restored = Some(serde_json::to_string(&Restored { complete: true, ..restored })?);
        write(&transaction, keychain, meta).await?;
        Ok(slow::commit(transaction).await?)
    }

    async fn create_deployment(&self, masters: &MasterKeys, now: Time) -> Result<Deployment, StoreError> {
        let deployment = Uuid::new_v4();
        let kek = masters.newest(deployment)?;
        let (keychain, data_keys) = Keychain::create(&kek, rows::millis(now))?;
        let mut meta = ring_meta::Model {
            id: 1,
            deployment_id: deployment.to_string(),
            incarnation: 1,
            counter: 0,
            head_hash: vec![0; 32],
            bootstrapped: false,
            issuer: None,
            key_check: kek.key_check()?,
            created_at: rows::millis(now),
            policies: None,
            seal_revision: None,
            master_version: None,
            master_since: None,
            data_key: None,
            data_key_next: None,
            restored: None,
            mac: Vec::new(),
        };
        meta.mac = mac_of_row(&keychain, "ring_meta", &meta).to_vec();
        let transaction = self.connection.begin().await?;
        // Several nodes may start at once on an empty database: the first one's deployment is everybody's.
        let there = OnConflict::column(ring_meta::Column::Id).do_nothing().to_owned();
        let insert = ring_meta::Entity::insert(meta.into_active_model()).on_conflict(there);
        if insert.exec_without_returning(&transaction).await? == 0 {
            transaction.rollback().await?;
            return self.open_existing(masters).await;
        }
        for row in data_keys {
            data_key::Entity::insert(row.into_active_model()).exec_without_returning(&transaction).await?;
        }
        transaction.commit().await?;
        Ok(Deployment { keychain, bootstrapped: false, issuer: None, restored: None })
    }
}

/// Opens the data-encryption keys of a deployment, if the row that describes it is as the service wrote it.
pub(crate) fn open_keychain(
    masters: &MasterKeys,
    meta: &ring_meta::Model,
    data_keys: &[data_key::Model],
) -> Result<Keychain, StoreError> {
    let deployment: Uuid = meta.deployment_id.parse().map_err(|_| StoreError::MetaDamaged)?;
    let kek = masters.fitting(deployment, &meta.key_check)?;
    let keychain = Keychain::open(&kek, data_keys, &seal::standing(meta)?)?;
    judge(&keychain, meta)?;
    Ok(keychain)
}

/// Where the ring stands, by the row that describes the deployment, if that is as the service wrote it.
pub(crate) fn position(keychain: &Keychain, meta: &ring_meta::Model) -> Result<Position, StoreError> {
    judge(keychain, meta)?;
    let epoch = Epoch::of_row(meta.incarnation, meta.counter).ok_or(StoreError::MetaDamaged)?;
    let head = meta.head_hash.as_slice().try_into().map_err(|_| StoreError::MetaDamaged)?;
    Ok(Position { epoch, head })
}

pub(super) fn judge(keychain: &Keychain, meta: &ring_meta::Model) -> Result<(), StoreError> {
    let mac = mac_of_row(keychain, "ring_meta", meta);
    if claviger_crypto::digest::ct_eq(&mac, &meta.mac) { Ok(()) } else { Err(StoreError::MetaDamaged) }
}

/// What the row says of a restore.
pub(super) fn restored(meta: &ring_meta::Model) -> Result<Option<Restored>, StoreError> {
    Ok(meta.restored.as_deref().map(serde_json::from_str).transpose()?)
}

/// Writes the row anew.
pub(super) async fn write(
    connection: &impl ConnectionTrait,
    keychain: &Keychain,
    mut meta: ring_meta::Model,
) -> Result<(), StoreError> {
    meta.mac = mac_of_row(keychain, "ring_meta", &meta).to_vec();
    meta.into_active_model().reset_all().update(connection).await?;
    Ok(())
}
