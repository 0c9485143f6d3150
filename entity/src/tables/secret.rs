//! Secrets of owners, as they are now.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "secrets")]
pub struct Model {
    /// Identity of the value from its creation to its end; part of what it is sealed with.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Whose it is.
    pub owner: String,
    /// Name, unique for the owner.
    pub name: String,
    /// Grows by one with each change.
    pub version: i64,
    /// Version of the key `stores` that it is sealed under.
    pub kid: String,
    /// The value, sealed in this place.
    pub sealed: Vec<u8>,
    /// What it is for; in clear.
    pub description: Option<String>,
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
