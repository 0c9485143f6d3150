//! For which key a revocation counts, how often versions have encrypted, and masters of before, sealed under the one in use. The release
//! before knows none of them, and loses nothing by it.

use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, binary, binary_null, string, string_null},
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, column) in [("revocations", string_null("key_id")), ("rekeys", binary_null("mac"))] {
            manager.alter_table(Table::alter().table(table).add_column(column).to_owned()).await?;
        }
        let key_uses = Table::create()
            .table("key_uses")
            .col(string("kid").primary_key())
            .col(big_integer("set_aside"))
            .col(big_integer("updated_at"))
            .col(binary("mac"))
            .to_owned();
        manager.create_table(key_uses).await?;
        let old_masters = Table::create()
            .table("old_masters")
            .col(string("fingerprint").primary_key())
            .col(big_integer("version"))
            .col(big_integer("replaced_at"))
            .col(binary("sealed"))
            .to_owned();
        manager.create_table(old_masters).await
    }
}
