//! Which node sees what an alert is about. One that sees it goes on saying so; what nobody sees is over.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "alert_sightings")]
pub struct Model {
    /// Name of the rule.
    #[sea_orm(primary_key, auto_increment = false)]
    pub rule: String,
    /// What it is about.
    #[sea_orm(primary_key, auto_increment = false)]
    pub subject: String,
    /// The node.
    #[sea_orm(primary_key, auto_increment = false)]
    pub node: String,
    /// When it said so last.
    pub seen_at: i64,
}

/// No relation is ever loaded through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
