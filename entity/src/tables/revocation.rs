//! Tokens that are not accepted any more, until they would have expired.

use sea_orm::entity::prelude::*;

/// One row. Rows are only added and, once nothing hangs on them, removed: several may speak of one token.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "revocations")]
pub struct Model {
    /// Identity.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// `token`, `family`, `subject` or `version`.
    pub kind: String,
    /// Keyed hash of what is revoked, 16 bytes.
    pub mark: Vec<u8>,
    /// What began at this moment or before; NULL = whenever.
    pub cutoff: Option<i64>,
    /// When nothing that it concerns can be valid any more.
    pub expires_at: i64,
    /// When it was revoked.
    pub created_at: i64,
    /// The database's number of the transaction, by which others find the row; 0 where nobody else looks.
    pub xid: i64,
    /// What subscribers are told of it, sealed; it authenticates itself.
    pub told: Option<Vec<u8>>,
    /// Authenticates the row.
    pub mac: Vec<u8>,
}

/// No relation is ever loaded through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
