//! Incidents, what came of their steps, and what the nodes' logs say of each. The release before knows none of them, and leaves them alone.

use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, big_integer_null, binary, string, string_null, text},
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let states = ["waiting", "watching", "running", "done", "failed", "closed"];
        let incidents = Table::create()
            .table("incidents")
            .col(string("id").primary_key())
            .col(text("target"))
            .col(string("level"))
            .col(string("state").check(Expr::col("state").is_in(states)))
            .col(text("reason"))
            .col(big_integer("since"))
            .col(text("plan"))
            .col(text("bars"))
            .col(text("opened_by"))
            .col(big_integer("opened_at"))
            .col(string_null("approved_by"))
            .col(big_integer_null("approved_at"))
            .col(big_integer_null("finished_at"))
            .col(big_integer_null("closed_at"))
            .col(binary("mac"))
            .col(big_integer("fence"))
            .col(string("holder"))
            .col(big_integer("held_until"))
            .to_owned();
        manager.create_table(incidents).await?;
        let outcomes = ["done", "skipped", "failed"];
        let steps = Table::create()
            .table("incident_steps")
            .col(string("incident_id"))
            .col(big_integer("ordinal"))
            .col(string("state").check(Expr::col("state").is_in(outcomes)))
            .col(text("outcome"))
            .col(string("node"))
            .col(big_integer("at"))
            .col(binary("mac"))
            .primary_key(Index::create().col("incident_id").col("ordinal"))
            .to_owned();
        manager.create_table(steps).await?;
        let uses = Table::create()
            .table("incident_uses")
            .col(string("incident_id"))
            .col(string("node"))
            .col(text("uses"))
            .col(big_integer("at"))
            .col(binary("mac"))
            .primary_key(Index::create().col("incident_id").col("node"))
            .to_owned();
        manager.create_table(uses).await
    }
}
