//! How far sealed rows have moved to a data-encryption key. The rows themselves say what is left to do: a row of this table that was edited is
//! made anew from them.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "rekeys")]
pub struct Model {
    /// The key that they move to.
    #[sea_orm(primary_key, auto_increment = false)]
    pub data_key: String,
    /// Rows there were to move when it began.
    pub total: i64,
    /// Rows moved.
    pub done: i64,
    /// Rows that could not be opened, and were left alone.
    pub failed: i64,
    /// When it began.
    pub started_at: i64,
    /// The last step.
    pub updated_at: i64,
    /// When nothing was left.
    pub finished_at: Option<i64>,
    /// Authenticates the row; NULL = written by a release that did not.
    pub mac: Option<Vec<u8>>,
}

/// No relation is ever loaded through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
