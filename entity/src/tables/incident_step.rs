//! What came of each step of an incident. A step without a row has not been done.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "incident_steps")]
pub struct Model {
    /// The incident.
    #[sea_orm(primary_key, auto_increment = false)]
    pub incident_id: String,
    /// Place of the step in the plan.
    #[sea_orm(primary_key, auto_increment = false)]
    pub ordinal: i64,
    /// `done`, `skipped` or `failed`.
    pub state: String,
    /// What came of it, JSON.
    pub outcome: String,
    /// The node that did it.
    pub node: String,
    /// When.
    pub at: i64,
    /// Over all other columns.
    pub mac: Vec<u8>,
}

/// No relation is ever loaded through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
