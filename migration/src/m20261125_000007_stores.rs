//! Secrets with their history, tokens of third parties, offline tokens.
//!
//! What is stored is found by its owner and name, and by the version of the key that it is sealed under: the migration to another one, and
//! whoever wants to end a version, ask for that.

use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, big_integer_null, binary, string, text_null},
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// Names of tables with the columns by which their values are found.
const PLACES: [(&str, &[&str]); 4] = [
    ("secrets", &["owner", "name"]),
    ("secret_versions", &["owner", "name", "version"]),
    ("auth_tokens", &["user_id", "identity_provider"]),
    ("offline_tokens", &["user_id"]),
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let secrets = stored("secrets", &["owner", "name"]).col(text_null("description")).to_owned();
        let versions = stored("secret_versions", &["secret_id", "owner", "name"]);
        let versions = { versions }.col(text_null("description")).to_owned();
        let auth_tokens = stored("auth_tokens", &["user_id", "identity_provider"])
            .col(big_integer_null("access_token_expires_at"))
            .col(big_integer_null("refresh_token_expires_at"))
            .to_owned();
        for table in [secrets, versions, auth_tokens, stored("offline_tokens", &["user_id"])] {
            manager.create_table(table).await?;
        }
        for (table, place) in PLACES {
            let mut unique = Index::create().unique().name(format!("{table}_place")).table(table).to_owned();
            for column in place {
                unique.col(*column);
            }
            manager.create_index(unique).await?;
            let mut kids = Index::create().name(format!("{table}_kid")).table(table).to_owned();
            manager.create_index(kids.col("kid").col("id").to_owned()).await?;
        }
        Ok(())
    }
}

/// A table of sealed values.
fn stored(name: &'static str, place: &[&'static str]) -> TableCreateStatement {
    let mut table = Table::create().table(name).col(string("id").primary_key()).to_owned();
    for column in place {
        table.col(string(*column));
    }
    table
        .col(big_integer("version"))
        .col(string("kid"))
        .col(binary("sealed"))
        .col(big_integer("created_at"))
        .col(big_integer("updated_at"))
        .col(binary("mac"))
        .to_owned()
}
