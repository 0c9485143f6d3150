//! Data-encryption keys of the envelope, wrapped by the key-encryption key.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "data_keys")]
pub struct Model {
    /// Identity.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// `seal` or `row_mac`.
    pub purpose: String,
    /// The key under the key-encryption key.
    pub wrapped: Vec<u8>,
    /// When it was made.
    pub created_at: i64,
}

/// No relation is ever loaded through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
