//! Alerts: what is not as it should be, once in the deployment, since when and until when.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "alerts")]
pub struct Model {
    /// Identity.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Name of the rule.
    pub rule: String,
    /// What it is about; empty = the deployment.
    pub subject: String,
    /// `warning` or `critical`.
    pub severity: String,
    /// A sentence for people.
    pub summary: String,
    /// What was measured when it was raised, in the unit of the rule.
    pub value: i64,
    /// The node that saw it first.
    pub raised_by: String,
    /// When.
    pub raised_at: i64,
    /// Who has taken it up.
    pub acknowledged_by: Option<String>,
    /// When.
    pub acknowledged_at: Option<i64>,
    /// What they said.
    pub comment: Option<String>,
    /// When further people were told, since nobody had taken it up.
    pub escalated_at: Option<i64>,
    /// When no node saw it any more.
    pub cleared_at: Option<i64>,
    /// Grows with every change of any row.
    pub revision: i64,
    /// Over all other columns.
    pub mac: Vec<u8>,
}

/// No relation is ever loaded through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
