//! Audit logs of nodes: the last checkpoint of each, to hold the files against.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_chains")]
pub struct Model {
    /// The chain.
    #[sea_orm(primary_key, auto_increment = false)]
    pub chain: String,
    /// Node that writes it.
    pub node: String,
    /// Its first checkpoint here.
    pub started_at: i64,
    /// Number of the checkpoint's line.
    pub anchor_seq: i64,
    /// Segment that it is in.
    pub anchor_segment: i64,
    /// When it was made.
    pub anchor_at: i64,
    /// The line itself, signed.
    pub anchor_line: String,
    /// Over all other columns.
    pub mac: Vec<u8>,
}

/// No relation is ever loaded through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
