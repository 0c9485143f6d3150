//! Devices that were approved.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "devices")]
pub struct Model {
    /// Identity: SHA-256 of the public key, hex.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Raw Ed25519 public key.
    pub public_key: Vec<u8>,
    /// What it said of itself, JSON.
    pub client: String,
    /// What it was given, by role, JSON.
    pub grants: String,
    /// First approval.
    pub created_at: i64,
    /// Last change.
    pub updated_at: i64,
    /// Over all other columns.
    pub mac: Vec<u8>,
}

/// No relation is ever loaded through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
