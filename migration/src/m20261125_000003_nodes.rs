//! Nodes by start instead of by name: one that takes over a name must not hide the one before, which may still serve.

use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, boolean, string},
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // No release has written to it.
        manager.drop_table(Table::drop().table("nodes").to_owned()).await?;
        let nodes = Table::create()
            .table("nodes")
            .col(string("boot_id").primary_key())
            .col(string("name"))
            .col(string("version"))
            .col(big_integer("started_at"))
            .col(big_integer("seen_at"))
            .col(big_integer("applied_epoch"))
            .col(big_integer("max_staleness"))
            .col(boolean("draining"))
            .to_owned();
        manager.create_table(nodes).await
    }
}
