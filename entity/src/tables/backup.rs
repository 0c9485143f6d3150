//! Backups by the schedule: who makes which, and which were finished.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "backups")]
pub struct Model {
    /// The moment that the schedule names.
    #[sea_orm(primary_key, auto_increment = false)]
    pub slot: i64,
    /// The node that makes it, or has.
    pub node: String,
    /// When it began.
    pub started_at: i64,
    /// When it was finished; NULL = it was not, or not yet.
    pub finished_at: Option<i64>,
    /// Epoch of the backup.
    pub epoch: Option<i64>,
    /// Rows in it.
    pub row_count: Option<i64>,
    /// Its length.
    pub bytes: Option<i64>,
    /// Over all other columns.
    pub mac: Vec<u8>,
}

/// No relation is ever loaded through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
