//! Access and refresh tokens of third parties.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "auth_tokens")]
pub struct Model {
    /// Identity of the value from its creation to its end; part of what it is sealed with.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Whose they are.
    pub user_id: String,
    /// Who issued them.
    pub identity_provider: String,
    /// Grows by one with each change.
    pub version: i64,
    /// Version of the key `stores` that it is sealed under.
    pub kid: String,
    /// Both tokens, sealed together in this place: neither can be exchanged alone.
    pub sealed: Vec<u8>,
    /// End of the access token, in seconds since the epoch; NULL = it does not end.
    pub access_token_expires_at: Option<i64>,
    /// End of the refresh token, in seconds since the epoch; NULL = it does not end.
    pub refresh_token_expires_at: Option<i64>,
    /// Creation.
    pub created_at: i64,
    /// Last change.
    pub updated_at: i64,
    /// Over all other columns.
    pub mac: Vec<u8>,
}

/// No relation is ever loaded through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
