//! Masters of before, each sealed under the master in use, so that an old backup can be opened.

use sea_orm::entity::prelude::*;

/// One row. What is sealed is bound to all of its other columns.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "old_masters")]
pub struct Model {
    /// What stands for the master.
    #[sea_orm(primary_key, auto_increment = false)]
    pub fingerprint: String,
    /// Its number.
    pub version: i64,
    /// When another one was put in use.
    pub replaced_at: i64,
    /// The secret under the key-encryption key in use.
    pub sealed: Vec<u8>,
}

/// No relation is ever loaded through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
