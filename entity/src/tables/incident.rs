//! Incidents: what has happened to what, which playbook answers it, and what is shut out until it is closed.

use sea_orm::entity::prelude::*;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "incidents")]
pub struct Model {
    /// Identity; the order is that of their opening.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// What it is about, JSON.
    pub target: String,
    /// How sure whoever opened it is.
    pub level: String,
    /// How far it is.
    pub state: String,
    /// Why it was opened.
    pub reason: String,
    /// Since when whoever did it may have had what they had.
    pub since: i64,
    /// The steps, JSON.
    pub plan: String,
    /// What is shut out, JSON; whether it is now follows from the state.
    pub bars: String,
    /// Who opened it.
    pub opened_by: String,
    /// When.
    pub opened_at: i64,
    /// Who approved it last.
    pub approved_by: Option<String>,
    /// When.
    pub approved_at: Option<i64>,
    /// When its steps were over.
    pub finished_at: Option<i64>,
    /// When it was closed.
    pub closed_at: Option<i64>,
    /// Over all columns but those of the lease.
    pub mac: Vec<u8>,
    /// Grows with each lease.
    pub fence: i64,
    /// The node that runs it, or did; for people.
    pub holder: String,
    /// End of the lease, in milliseconds of the database's clock; 0 = nobody has it.
    pub held_until: i64,
}

/// No relation is ever loaded through the ORM.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
