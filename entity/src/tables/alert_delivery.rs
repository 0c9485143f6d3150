//! What is to be told to whom, and how often it was tried.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "alert_deliveries")]
pub struct Model {
    /// Identity; receivers know by it what they have got already.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// The alert or the incident.
    pub about: String,
    /// Name of the channel.
    pub channel: String,
    /// `raised`, `escalated`, `cleared` or `incident`.
    pub kind: String,
    /// What is told, JSON.
    pub body: String,
    /// When it came up.
    pub made_at: i64,
    /// Over the columns above.
    pub mac: Vec<u8>,
    /// `pending`, `done`, `dropped` or `dead`.
    pub state: String,
    /// How often it was tried.
    pub attempts: i64,
    /// When it is tried again.
    pub next_at: i64,
    /// Why it was not taken.
    pub last_error: Option<String>,
    /// When there was nothing more to do.
    pub ended_at: Option<i64>,
    /// Who tells it just now.
    pub holder: String,
    /// Until then.
    pub held_until: i64,
}

/// No relation is ever loaded through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
