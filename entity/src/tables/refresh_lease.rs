//! Who refreshes tokens of a third party, and how often that has failed. A row is there only meanwhile; it holds no secret and no right, so
//! it has no MAC: whoever edits it can make a refresh wait, or be tried twice.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "refresh_leases")]
pub struct Model {
    /// Identity of the tokens: the id of their row.
    #[sea_orm(primary_key, auto_increment = false)]
    pub token_id: String,
    /// Grows with each lease: what is written under an earlier one is refused.
    pub fence: i64,
    /// The node that has, or had, the lease; for people.
    pub holder: String,
    /// End of the lease, in milliseconds of the database's clock; 0 = nobody has it.
    pub held_until: i64,
    /// Refreshes that have failed since the last one that did not.
    pub failures: i64,
    /// Nobody tries before, in milliseconds of the database's clock.
    pub retry_at: i64,
}

/// No relation is ever loaded through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
