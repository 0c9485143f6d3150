//! When principals last called. Written now and then, beside the ring: it moves no epoch and decides nothing.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "principal_uses")]
pub struct Model {
    /// The principal.
    #[sea_orm(primary_key, auto_increment = false)]
    pub principal_id: String,
    /// Its last request.
    pub last_used_at: i64,
}

/// No relation is ever loaded through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
