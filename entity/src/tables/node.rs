//! Nodes that serve this deployment.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "nodes")]
pub struct Model {
    /// Name.
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    /// Which start of the node this is.
    pub boot_id: String,
    /// Epoch that it serves.
    pub applied_epoch: i64,
    /// Last sign of life.
    pub seen_at: i64,
    /// Start.
    pub started_at: i64,
    /// Version of the service.
    pub version: String,
    /// It is leaving.
    pub draining: bool,
}

/// No relation is ever loaded through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
