//! Changes and refusals of all nodes, to be asked about. The proof of them is in the nodes' audit logs.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_events")]
pub struct Model {
    /// UUIDv7 of `at`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// When.
    pub at: i64,
    /// Node that recorded it.
    pub node: String,
    /// Such as `key_rotated`.
    pub event: String,
    /// Such as `key.rotate`.
    pub operation: String,
    /// Who.
    pub actor: String,
    /// The principal's id.
    pub actor_id: Option<String>,
    /// The key.
    pub key_name: Option<String>,
    /// `ok`, or the problem's code.
    pub outcome: String,
    /// The request.
    pub request_id: Option<String>,
    /// The audit record, JSON.
    pub record: String,
}

/// No relation is ever loaded through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
