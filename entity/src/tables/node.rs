//! Nodes that serve this deployment.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "nodes")]
pub struct Model {
    /// Which start of the node this is.
    #[sea_orm(primary_key, auto_increment = false)]
    pub boot_id: String,
    /// Name; two that carry one are two nodes.
    pub name: String,
    /// Version of the service.
    pub version: String,
    /// Start.
    pub started_at: i64,
    /// Last sign of life, in milliseconds by the database's clock.
    pub seen_at: i64,
    /// Epoch that no request of the node is behind any more.
    pub applied_epoch: i64,
    /// Milliseconds without word from the database after which it refuses work.
    pub max_staleness: i64,
    /// It is leaving.
    pub draining: bool,
    /// State of masters and data-encryption keys that it works with; NULL = its release knows of none.
    pub seal_revision: Option<i64>,
    /// Fingerprints of the masters that it was given, newest first, separated by spaces.
    pub masters: Option<String>,
}

/// No relation is ever loaded through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
