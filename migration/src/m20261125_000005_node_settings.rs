//! What each node was last started with, so that a change of its configuration is on record.

use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, binary, string, string_null, text},
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let settings = Table::create()
            .table("node_settings")
            .col(string("node").primary_key())
            .col(string_null("chain"))
            .col(text("settings"))
            .col(big_integer("started_at"))
            .col(binary("mac"))
            .to_owned();
        manager.create_table(settings).await
    }
}
