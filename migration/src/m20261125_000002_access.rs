//! API keys with a second secret during a rotation, policies, last uses.
//!
//! Columns that come later are nullable and are left out of a row's MAC while they are NULL, so rows from before stay valid.

use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, big_integer_null, binary, binary_null, string, string_null, text, text_null},
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, column) in [
            ("principals", binary_null("previous_hash")),
            ("principals", big_integer_null("previous_until")),
            ("ring_meta", text_null("policies")),
            ("changes", string_null("object")),
        ] {
            // One column a statement: SQLite knows no more.
            manager.alter_table(Table::alter().table(table).add_column(column).to_owned()).await?;
        }
        let policies = Table::create()
            .table("policies")
            .col(string("name").primary_key())
            .col(text("text"))
            .col(text_null("description"))
            .col(big_integer("created_at"))
            .col(big_integer("updated_at"))
            .col(big_integer("revision"))
            .col(binary("mac"))
            .to_owned();
        manager.create_table(policies).await?;
        let uses = Table::create()
            .table("principal_uses")
            .col(string("principal_id").primary_key())
            .col(big_integer("last_used_at"))
            .to_owned();
        manager.create_table(uses).await
    }
}
