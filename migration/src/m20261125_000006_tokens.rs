//! Revoked tokens and refresh tokens, and how long the tokens of a key may have been made to live. The release before knows neither table,
//! and loses nothing by it.

use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, big_integer_null, binary, binary_null, string, string_null},
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let revocations = Table::create()
            .table("revocations")
            .col(string("id").primary_key())
            .col(string("kind"))
            .col(binary("mark"))
            .col(big_integer_null("cutoff"))
            .col(big_integer("expires_at"))
            .col(big_integer("created_at"))
            .col(big_integer("xid"))
            .col(binary("mac"))
            .to_owned();
        manager.create_table(revocations).await?;
        let refresh_tokens = Table::create()
            .table("refresh_tokens")
            .col(string("id").primary_key())
            .col(string("family"))
            .col(string("key_id"))
            .col(binary("token_hash"))
            .col(big_integer("issued_at"))
            .col(big_integer("expires_at"))
            .col(big_integer("ends_at"))
            .col(big_integer_null("spent_at"))
            .col(string("dek_id"))
            .col(binary("sealed"))
            .col(string_null("answer_dek_id"))
            .col(binary_null("answer"))
            .col(binary("mac"))
            .to_owned();
        manager.create_table(refresh_tokens).await?;
        let longest = Table::alter().table("keys").add_column(big_integer_null("longest_ttl")).to_owned();
        manager.alter_table(longest).await?;
        for (table, column) in [
            // Who follows, who sweeps, who asks about one token.
            ("revocations", "xid"),
            ("revocations", "created_at"),
            ("revocations", "expires_at"),
            ("revocations", "mark"),
            ("refresh_tokens", "family"),
            ("refresh_tokens", "expires_at"),
            ("refresh_tokens", "ends_at"),
        ] {
            let name = format!("{table}_{column}");
            let index = Index::create().name(name).table(table).col(column).to_owned();
            manager.create_index(index).await?;
        }
        Ok(())
    }
}
