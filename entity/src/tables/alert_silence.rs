//! Alerts that nobody is to be told of for a while.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "alert_silences")]
pub struct Model {
    /// Identity.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Name of the rule; absent = every rule.
    pub rule: Option<String>,
    /// What it is about; absent = whatever.
    pub subject: Option<String>,
    /// Why.
    pub reason: String,
    /// Who wants it.
    pub made_by: String,
    /// Since when.
    pub made_at: i64,
    /// Until when.
    pub until: i64,
    /// Over all other columns.
    pub mac: Vec<u8>,
}

/// No relation is ever loaded through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
