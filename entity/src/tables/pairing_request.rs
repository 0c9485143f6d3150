//! Devices that wait for an approval, for minutes. Beside the ring: no epoch moves.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "pairing_requests")]
pub struct Model {
    /// The device: one request each.
    #[sea_orm(primary_key, auto_increment = false)]
    pub device_id: String,
    /// Identity. A device that asks for something else has another request.
    pub id: String,
    /// Raw Ed25519 public key.
    pub public_key: Vec<u8>,
    /// What it wants to connect as.
    pub role: String,
    /// How far, JSON.
    pub scopes: String,
    /// What it says of itself, JSON.
    pub client: String,
    /// Where it connected from.
    pub address: Option<String>,
    /// Whose credential it presented.
    pub requested_by: String,
    /// When it asked first.
    pub created_at: i64,
    /// When the request lapses.
    pub expires_at: i64,
    /// Over all other columns.
    pub mac: Vec<u8>,
}

/// No relation is ever loaded through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
