//! How often versions of data keys have encrypted, on all nodes together.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "key_uses")]
pub struct Model {
    /// The version.
    #[sea_orm(primary_key, auto_increment = false)]
    pub kid: String,
    /// Encryptions that nodes have set aside for themselves: at least as many as there were.
    pub set_aside: i64,
    /// When that was last done.
    pub updated_at: i64,
    /// Authenticates the row.
    pub mac: Vec<u8>,
}

/// No relation is ever loaded through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
