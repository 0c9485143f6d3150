//! Which master is in use, which data-encryption key seals, who knows of it, and how far rows have moved to it.

use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, big_integer_null, string, string_null, text_null},
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // One column a statement: SQLite knows no more.
        for (table, column) in [
            ("ring_meta", big_integer_null("seal_revision")),
            ("ring_meta", big_integer_null("master_version")),
            ("ring_meta", big_integer_null("master_since")),
            ("ring_meta", string_null("data_key")),
            ("ring_meta", string_null("data_key_next")),
            ("nodes", big_integer_null("seal_revision")),
            ("nodes", text_null("masters")),
        ] {
            manager.alter_table(Table::alter().table(table).add_column(column).to_owned()).await?;
        }
        let rekeys = Table::create()
            .table("rekeys")
            .col(string("data_key").primary_key())
            .col(big_integer("total"))
            .col(big_integer("done"))
            .col(big_integer("failed"))
            .col(big_integer("started_at"))
            .col(big_integer("updated_at"))
            .col(big_integer_null("finished_at"))
            .to_owned();
        manager.create_table(rekeys).await
    }
}
