//! Devices that were approved, and those that wait for it.

use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, binary, string, string_null, text},
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let devices = Table::create()
            .table("devices")
            .col(string("id").primary_key())
            .col(binary("public_key"))
            .col(text("client"))
            .col(text("grants"))
            .col(big_integer("created_at"))
            .col(big_integer("updated_at"))
            .col(binary("mac"))
            .to_owned();
        manager.create_table(devices).await?;
        let requests = Table::create()
            .table("pairing_requests")
            .col(string("device_id").primary_key())
            .col(string("id").unique_key())
            .col(binary("public_key"))
            .col(string("role"))
            .col(text("scopes"))
            .col(text("client"))
            .col(string_null("address"))
            .col(string("requested_by"))
            .col(big_integer("created_at"))
            .col(big_integer("expires_at"))
            .col(binary("mac"))
            .to_owned();
        manager.create_table(requests).await
    }
}
