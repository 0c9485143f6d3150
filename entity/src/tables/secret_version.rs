//! Secrets as they were: the last few versions before the present one.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "secret_versions")]
pub struct Model {
    /// Identity of the row.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Identity of the secret.
    pub secret_id: String,
    /// Whose it is.
    pub owner: String,
    /// Name of the secret.
    pub name: String,
    /// Which version of the secret.
    pub version: i64,
    /// Version of the key `stores` that it is sealed under.
    pub kid: String,
    /// The value, sealed in this place.
    pub sealed: Vec<u8>,
    /// What it was for; in clear.
    pub description: Option<String>,
    /// Creation of the secret.
    pub created_at: i64,
    /// Since when it was so.
    pub updated_at: i64,
    /// Over all other columns.
    pub mac: Vec<u8>,
}

/// No relation is ever loaded through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
