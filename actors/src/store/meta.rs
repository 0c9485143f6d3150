//! The deployment: made once, then opened.

use claviger_entity::tables::{data_key, principal, ring_meta};
use sea_orm::{
    ActiveModelTrait as _, EntityTrait as _, IntoActiveModel as _, PaginatorTrait as _, Set,
    TransactionTrait as _,
};
use uuid::Uuid;

use super::{Database, StoreError, rows};
use crate::{
    access::{Manifest, PrincipalRecord},
    keyring::record::Time,
    seal::{Keychain, MasterKeys, mac_of_row},
};

/// Columns that move with each change and are guarded by the change log instead.
const MOVING: &[&str] = &["counter", "head_hash"];

/// An open deployment.
pub struct Deployment {
    /// Its data-encryption keys.
    pub keychain: Keychain,
    /// It has had its first administrator.
    pub bootstrapped: bool,
    /// `iss` of its tokens, once known.
    pub issuer: Option<String>,
}

impl Database {
    /// Opens the deployment, or makes it.
    ///
    /// # Errors
    /// [`SealError::WrongMaster`], before anything is written; [`StoreError::MetaDamaged`]; the database failed.
    pub async fn open_deployment(&self, masters: &MasterKeys, now: Time) -> Result<Deployment, StoreError> {
        match ring_meta::Entity::find_by_id(1).one(&self.connection).await? {
            Some(meta) => self.open_existing(meta, masters).await,
            None => self.create_deployment(masters, now).await,
        }
    }

    async fn open_existing(
        &self,
        meta: ring_meta::Model,
        masters: &MasterKeys,
    ) -> Result<Deployment, StoreError> {
        let deployment: Uuid = meta.deployment_id.parse().map_err(|_| StoreError::MetaDamaged)?;
        let kek = masters.fitting(deployment, &meta.key_check)?;
        let data_keys = data_key::Entity::find().all(&self.connection).await?;
        let keychain = Keychain::open(&kek, &data_keys)?;
        judge(&keychain, &meta)?;
        Ok(Deployment { keychain, bootstrapped: meta.bootstrapped, issuer: meta.issuer })
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
            mac: Vec::new(),
        };
        meta.mac = mac_of_row(&keychain, "ring_meta", &meta, MOVING).to_vec();
        let transaction = self.connection.begin().await?;
        ring_meta::Entity::insert(meta.into_active_model()).exec_without_returning(&transaction).await?;
        for row in data_keys {
            data_key::Entity::insert(row.into_active_model()).exec_without_returning(&transaction).await?;
        }
        transaction.commit().await?;
        Ok(Deployment { keychain, bootstrapped: false, issuer: None })
    }

    /// Inserts the first administrator, once in the life of a deployment.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there was one already.
    pub async fn insert_first_admin(
        &self,
        keychain: &Keychain,
        admin: &PrincipalRecord,
    ) -> Result<(), StoreError> {
        let transaction = self.connection.begin().await?;
        let meta =
            ring_meta::Entity::find_by_id(1).one(&transaction).await?.ok_or(StoreError::MetaDamaged)?;
        if meta.bootstrapped || principal::Entity::find().count(&transaction).await? > 0 {
            return Err(StoreError::Conflict);
        }
        let row = rows::principal_row(keychain, admin)?.into_active_model();
        principal::Entity::insert(row).exec_without_returning(&transaction).await?;
        update_meta(&transaction, keychain, meta, |meta| meta.bootstrapped = true).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Fixes the issuer of the deployment.
    ///
    /// # Errors
    /// The database failed.
    pub async fn fix_issuer(&self, keychain: &Keychain, issuer: &str) -> Result<(), StoreError> {
        let transaction = self.connection.begin().await?;
        let meta =
            ring_meta::Entity::find_by_id(1).one(&transaction).await?.ok_or(StoreError::MetaDamaged)?;
        update_meta(&transaction, keychain, meta, |meta| meta.issuer = Some(issuer.to_owned())).await?;
        transaction.commit().await?;
        Ok(())
    }
}

/// The row that describes the deployment is as the service wrote it.
pub(super) fn judge(keychain: &Keychain, meta: &ring_meta::Model) -> Result<(), StoreError> {
    let mac = mac_of_row(keychain, "ring_meta", meta, MOVING);
    if claviger_crypto::digest::ct_eq(&mac, &meta.mac) { Ok(()) } else { Err(StoreError::MetaDamaged) }
}

/// Writes down which policies there are.
pub(super) async fn keep_manifest(
    connection: &impl sea_orm::ConnectionTrait,
    keychain: &Keychain,
    manifest: &Manifest,
) -> Result<(), StoreError> {
    let meta = ring_meta::Entity::find_by_id(1).one(connection).await?.ok_or(StoreError::MetaDamaged)?;
    judge(keychain, &meta)?;
    let text = serde_json::to_string(manifest)?;
    update_meta(connection, keychain, meta, |meta| meta.policies = Some(text)).await
}

async fn update_meta(
    connection: &impl sea_orm::ConnectionTrait,
    keychain: &Keychain,
    mut meta: ring_meta::Model,
    edit: impl FnOnce(&mut ring_meta::Model),
) -> Result<(), StoreError> {
    edit(&mut meta);
    let mac = mac_of_row(keychain, "ring_meta", &meta, MOVING).to_vec();
    let mut row = meta.clone().into_active_model();
    row.bootstrapped = Set(meta.bootstrapped);
    row.issuer = Set(meta.issuer);
    row.policies = Set(meta.policies);
    row.mac = Set(mac);
    row.update(connection).await?;
    Ok(())
}
