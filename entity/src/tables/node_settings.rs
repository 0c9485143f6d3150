//! What each node was last started with, as far as it matters for security; no secrets.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "node_settings")]
pub struct Model {
    /// Name of the node.
    #[sea_orm(primary_key, auto_increment = false)]
    pub node: String,
    /// Chain of its audit log: whoever goes on with that is the same node, whatever its name.
    pub chain: Option<String>,
    /// Values by name, JSON.
    pub settings: String,
    /// That start.
    pub started_at: i64,
    /// Over all other columns.
    pub mac: Vec<u8>,
}

/// No relation is ever loaded through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
