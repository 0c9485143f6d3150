//! The change log: what happened to the ring, in order.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "changes")]
pub struct Model {
    /// Number of the change within the incarnation's count.
    #[sea_orm(primary_key, auto_increment = false)]
    pub epoch: i64,
    /// Position within the change.
    #[sea_orm(primary_key, auto_increment = false)]
    pub ordinal: i32,
    /// When.
    pub at: i64,
    /// Such as `key.rotated`.
    pub kind: String,
    /// What changed, where it is no key: `api-key/<id>` or `policy/<name>`.
    pub object: Option<String>,
    /// The key.
    pub key_name: Option<String>,
    /// The version.
    pub version: Option<i64>,
    /// Its identifier.
    pub kid: Option<String>,
    /// Its state afterwards.
    pub state: Option<String>,
    /// The primary before.
    pub previous_version: Option<i64>,
    /// Why.
    pub reason: Option<String>,
    /// Who.
    pub actor: String,
    /// The audit record, JSON.
    pub record: String,
    /// Hash over this and everything before.
    pub head_hash: Vec<u8>,
}

/// No relation is ever loaded through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
