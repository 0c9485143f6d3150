//! The last checkpoint of each node's audit log, and what the whole cluster may be asked about: changes and refusals.

use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, binary, string, string_null, text},
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let chains = Table::create()
            .table("audit_chains")
            .col(string("chain").primary_key())
            .col(string("node"))
            .col(big_integer("started_at"))
            .col(big_integer("anchor_seq"))
            .col(big_integer("anchor_segment"))
            .col(big_integer("anchor_at"))
            .col(text("anchor_line"))
            .col(binary("mac"))
            .to_owned();
        manager.create_table(chains).await?;
        let events = Table::create()
            .table("audit_events")
            .col(string("id").primary_key())
            .col(big_integer("at"))
            .col(string("node"))
            .col(string("event"))
            .col(string("operation"))
            .col(string("actor"))
            .col(string_null("actor_id"))
            .col(string_null("key_name"))
            .col(string("outcome"))
            .col(string_null("request_id"))
            .col(text("record"))
            .to_owned();
        manager.create_table(events).await?;
        // Ids grow with time, so that each of these gives the newest first.
        for (name, columns) in [
            ("audit_events_at", &["at"][..]),
            ("audit_events_event", &["event", "id"]),
            ("audit_events_key", &["key_name", "id"]),
            ("audit_events_actor", &["actor", "id"]),
        ] {
            let mut index = Index::create().name(name).table("audit_events").to_owned();
            for column in columns {
                index.col(*column);
            }
            manager.create_index(index).await?;
        }
        Ok(())
    }
}
