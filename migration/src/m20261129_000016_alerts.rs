//! Alerts, which nodes see what they are about, what is to be told of them to whom, and what is to be kept quiet. The release before knows none of
//! them, and leaves them alone.

use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, big_integer_null, binary, string, string_null, text, text_null},
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(alerts()).await?;
        // However many nodes see it: one is open at a time.
        let sql = "CREATE UNIQUE INDEX alerts_one_open ON alerts (rule, subject) WHERE cleared_at IS NULL";
        manager.get_connection().execute_unprepared(sql).await?;
        let revision = Index::create().name("alerts_revision").table("alerts").col("revision").to_owned();
        manager.create_index(revision).await?;
        let sightings = Table::create()
            .table("alert_sightings")
            .col(string("rule"))
            .col(string("subject"))
            .col(string("node"))
            .col(big_integer("seen_at"))
            .primary_key(Index::create().col("rule").col("subject").col("node"))
            .to_owned();
        manager.create_table(sightings).await?;
        manager.create_table(deliveries()).await?;
        let unique = Index::create()
            .unique()
            .name("alert_deliveries_once")
            .table("alert_deliveries")
            .col("about")
            .col("channel")
            .col("kind")
            .to_owned();
        manager.create_index(unique).await?;
        let due = Index::create()
            .name("alert_deliveries_due")
            .table("alert_deliveries")
            .col("state")
            .col("next_at")
            .to_owned();
        manager.create_index(due).await?;
        let silences = Table::create()
            .table("alert_silences")
            .col(string("id").primary_key())
            .col(string_null("rule"))
            .col(string_null("subject"))
            .col(text("reason"))
            .col(text("made_by"))
            .col(big_integer("made_at"))
            .col(big_integer("until"))
            .col(binary("mac"))
            .to_owned();
        manager.create_table(silences).await
    }
}

fn alerts() -> TableCreateStatement {
    Table::create()
        .table("alerts")
        .col(string("id").primary_key())
        .col(string("rule"))
        .col(string("subject"))
        .col(string("severity").check(Expr::col("severity").is_in(["warning", "critical"])))
        .col(text("summary"))
        .col(big_integer("value"))
        .col(string("raised_by"))
        .col(big_integer("raised_at"))
        .col(text_null("acknowledged_by"))
        .col(big_integer_null("acknowledged_at"))
        .col(text_null("comment"))
        .col(big_integer_null("escalated_at"))
        .col(big_integer_null("cleared_at"))
        .col(big_integer("revision"))
        .col(binary("mac"))
        .to_owned()
}

fn deliveries() -> TableCreateStatement {
    Table::create()
        .table("alert_deliveries")
        .col(string("id").primary_key())
        .col(string("about"))
        .col(string("channel"))
        .col(string("kind").check(Expr::col("kind").is_in(["raised", "escalated", "cleared", "incident"])))
        .col(text("body"))
        .col(big_integer("made_at"))
        .col(binary("mac"))
        .col(string("state").check(Expr::col("state").is_in(["pending", "done", "dropped", "dead"])))
        .col(big_integer("attempts"))
        .col(big_integer("next_at"))
        .col(text_null("last_error"))
        .col(big_integer_null("ended_at"))
        .col(string("holder"))
        .col(big_integer("held_until"))
        .to_owned()
}
