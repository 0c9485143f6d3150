//! Keys.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "keys")]
pub struct Model {
    /// Identity.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Unique.
    pub name: String,
    /// Type.
    pub key_type: String,
    /// RSA modulus length.
    pub bits: Option<i64>,
    /// Usage.
    pub usage: String,
    /// Cryptoperiod class.
    pub tier: String,
    /// Free text.
    pub description: Option<String>,
    /// Rotation policy, JSON.
    pub rotation: String,
    /// Claim rules, JSON.
    pub claims: String,
    /// Policy and state of a temporary key, JSON.
    pub temporary: Option<String>,
    /// Material may leave.
    pub exportable: bool,
    /// Deletion may be scheduled.
    pub deletion_allowed: bool,
    /// Labels, JSON.
    pub labels: String,
    /// Versions below do not decrypt.
    pub min_decryption_version: i64,
    /// Creation.
    pub created_at: i64,
    /// Last change.
    pub updated_at: i64,
    /// Scheduled destruction.
    pub delete_at: Option<i64>,
    /// Destruction.
    pub deleted_at: Option<i64>,
    /// Revision, the ETag.
    pub revision: i64,
    /// Number of the newest version.
    pub latest_version: i64,
    /// Seconds: the longest lifetime that its tokens may have, where that was more than it is now.
    pub longest_ttl: Option<i64>,
    /// Over all other columns.
    pub mac: Vec<u8>,
}

/// No relation is ever loaded through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
