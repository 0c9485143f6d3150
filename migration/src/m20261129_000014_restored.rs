//! Whether the deployment was restored from a backup and still has to be released, and which backups the schedule has made. A release that does not
//! know of the first finds the row of the deployment changed and does not start, as it must.

use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, big_integer_null, binary, string, text_null},
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let restored = Table::alter().table("ring_meta").add_column(text_null("restored")).to_owned();
        manager.alter_table(restored).await?;
        let backups = Table::create()
            .table("backups")
            .col(big_integer("slot").primary_key())
            .col(string("node"))
            .col(big_integer("started_at"))
            .col(big_integer_null("finished_at"))
            .col(big_integer_null("epoch"))
            .col(big_integer_null("row_count"))
            .col(big_integer_null("bytes"))
            .col(binary("mac"))
            .to_owned();
        manager.create_table(backups).await
    }
}
