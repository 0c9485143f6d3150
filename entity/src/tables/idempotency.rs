//! Answers kept for callers that ask twice.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "idempotency")]
pub struct Model {
    /// Whose key it is.
    #[sea_orm(primary_key, auto_increment = false)]
    pub scope: String,
    /// The `Idempotency-Key`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub idem_key: String,
    /// Hash of method, path and body.
    pub request_hash: Vec<u8>,
    /// The data-encryption key that seals the answer.
    pub dek_id: String,
    /// The sealed answer.
    pub response: Vec<u8>,
    /// When it was given.
    pub created_at: i64,
    /// When it is forgotten.
    pub expires_at: i64,
}

/// No relation is ever loaded through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
