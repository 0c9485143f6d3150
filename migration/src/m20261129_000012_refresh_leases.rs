//! Who refreshes tokens of third parties at their providers, and how often that has failed.

use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, string},
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let leases = Table::create()
            .table("refresh_leases")
            .col(string("token_id").primary_key())
            .col(big_integer("fence"))
            .col(string("holder"))
            .col(big_integer("held_until"))
            .col(big_integer("failures"))
            .col(big_integer("retry_at"))
            .to_owned();
        manager.create_table(leases).await
    }
}
