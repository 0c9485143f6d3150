//! Who may call.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "principals")]
pub struct Model {
    /// Identity.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Name.
    pub name: String,
    /// Keyed hash of the token.
    pub token_hash: Vec<u8>,
    /// Roles, JSON.
    pub roles: String,
    /// Creation.
    pub created_at: i64,
    /// Expiry.
    pub expires_at: Option<i64>,
    /// When it was disabled.
    pub disabled_at: Option<i64>,
    /// Keyed hash of the token before, while it is accepted beside the new one.
    pub previous_hash: Option<Vec<u8>>,
    /// Until when.
    pub previous_until: Option<i64>,
    /// Over all other columns.
    pub mac: Vec<u8>,
}

/// No relation is ever loaded through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
