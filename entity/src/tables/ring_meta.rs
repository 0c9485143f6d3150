//! The deployment itself: one row, id 1.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "ring_meta")]
pub struct Model {
    /// Always 1.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i32,
    /// Identity of the deployment; salt of the key-encryption key.
    pub deployment_id: String,
    /// Grows with each restore.
    pub incarnation: i64,
    /// Grows by one with each change.
    pub counter: i64,
    /// Hash of the change log up to here.
    pub head_hash: Vec<u8>,
    /// The first administrator was created; a bootstrap token means nothing any more.
    pub bootstrapped: bool,
    /// `iss` of our tokens, once known.
    pub issuer: Option<String>,
    /// Opens only under the right master key.
    pub key_check: Vec<u8>,
    /// When the deployment began.
    pub created_at: i64,
    /// Names of all policies and whether each forbids anything, JSON, so that the loss of one is noticed.
    pub policies: Option<String>,
    /// Grows by one whenever masters or data-encryption keys change; NULL = 0.
    pub seal_revision: Option<i64>,
    /// Number of the master in use; NULL = 1.
    pub master_version: Option<i64>,
    /// Since when it is in use; NULL = since the deployment began.
    pub master_since: Option<i64>,
    /// The data-encryption key that seals; NULL = the only one.
    pub data_key: Option<String>,
    /// The one that will, once every node has it.
    pub data_key_next: Option<String>,
    /// It was restored from a backup and has not been released yet, JSON; NULL = it serves as usual.
    pub restored: Option<String>,
    /// Over all columns that do not move with each change.
    pub mac: Vec<u8>,
}

/// No relation is ever loaded through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
