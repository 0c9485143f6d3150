//! Refresh tokens, spent ones included: who uses one of those again has no right to the family.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "refresh_tokens")]
pub struct Model {
    /// Identity; part of the token's text.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// The family: all that has come of one issue.
    pub family: String,
    /// The key of its access tokens.
    pub key_id: String,
    /// Keyed hash of the token; the token itself is kept nowhere.
    pub token_hash: Vec<u8>,
    /// When it was issued.
    pub issued_at: i64,
    /// When it ends.
    pub expires_at: i64,
    /// When the access token that was issued with it has ended too.
    pub ends_at: i64,
    /// When it was used; NULL = it has not been.
    pub spent_at: Option<i64>,
    /// The data-encryption key that seals the grant.
    pub dek_id: String,
    /// What is issued for it, sealed.
    pub sealed: Vec<u8>,
    /// The data-encryption key that seals the answer.
    pub answer_dek_id: Option<String>,
    /// The pair that was given for it, sealed; kept where a second use is forgiven for a moment.
    pub answer: Option<Vec<u8>>,
    /// Authenticates the row.
    pub mac: Vec<u8>,
}

/// No relation is ever loaded through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
