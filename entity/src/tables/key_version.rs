//! Versions of keys, one row each.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "key_versions")]
pub struct Model {
    /// The key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub key_id: String,
    /// Number within the key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub version: i64,
    /// Identifier, unique for ever.
    pub kid: String,
    /// State.
    pub state: String,
    /// Generated or imported.
    pub origin: String,
    /// Publication.
    pub created_at: i64,
    /// Activation.
    pub activated_at: Option<i64>,
    /// Deactivation.
    pub deactivated_at: Option<i64>,
    /// End of verification.
    pub verify_until: Option<i64>,
    /// Last change of state.
    pub changed_at: i64,
    /// Why.
    pub reason: Option<String>,
    /// Keyed hash of a replaced system's id.
    pub alias_hash: Option<Vec<u8>>,
    /// Public half, SPKI DER.
    pub public_spki: Option<Vec<u8>>,
    /// Sealed material.
    pub sealed: Option<Vec<u8>>,
    /// The data-encryption key that seals it.
    pub dek_id: String,
    /// Over all other columns.
    pub mac: Vec<u8>,
}

/// No relation is ever loaded through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
