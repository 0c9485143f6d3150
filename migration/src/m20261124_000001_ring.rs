//! The ring, its change log, its principals, its nodes and the answers kept for retries.

use sea_orm_migration::{
    prelude::*,
    schema::{
        big_integer, big_integer_null, binary, binary_null, boolean, integer, string, string_null, text,
        text_null,
    },
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [
            ring_meta(),
            data_keys(),
            keys(),
            key_versions(),
            principals(),
            changes(),
            nodes(),
            idempotency(),
        ] {
            manager.create_table(table).await?;
        }
        for (name, state) in
            [("key_versions_one_active", "active"), ("key_versions_one_standby", "pre_activation")]
        {
            // Whatever goes wrong above, a key never has two primaries.
            let sql = format!("CREATE UNIQUE INDEX {name} ON key_versions (key_id) WHERE state = '{state}'");
            manager.get_connection().execute_unprepared(&sql).await?;
        }
        let expiry =
            Index::create().name("idempotency_expires_at").table("idempotency").col("expires_at").to_owned();
        manager.create_index(expiry).await
    }
}

fn table(name: &'static str) -> TableCreateStatement {
    Table::create().table(name).to_owned()
}

fn ring_meta() -> TableCreateStatement {
    table("ring_meta")
        .col(integer("id").primary_key())
        .col(string("deployment_id"))
        .col(big_integer("incarnation"))
        .col(big_integer("counter"))
        .col(binary("head_hash"))
        .col(boolean("bootstrapped"))
        .col(string_null("issuer"))
        .col(binary("key_check"))
        .col(big_integer("created_at"))
        .col(binary("mac"))
        .to_owned()
}

fn data_keys() -> TableCreateStatement {
    table("data_keys")
        .col(string("id").primary_key())
        .col(string("purpose"))
        .col(binary("wrapped"))
        .col(big_integer("created_at"))
        .to_owned()
}

fn keys() -> TableCreateStatement {
    table("keys")
        .col(string("id").primary_key())
        .col(string("name").unique_key())
        .col(string("key_type"))
        .col(big_integer_null("bits"))
        .col(string("usage"))
        .col(string("tier"))
        .col(text_null("description"))
        .col(text("rotation"))
        .col(text("claims"))
        .col(text_null("temporary"))
        .col(boolean("exportable"))
        .col(boolean("deletion_allowed"))
        .col(text("labels"))
        .col(big_integer("min_decryption_version"))
        .col(big_integer("created_at"))
        .col(big_integer("updated_at"))
        .col(big_integer_null("delete_at"))
        .col(big_integer_null("deleted_at"))
        .col(big_integer("revision"))
        .col(big_integer("latest_version"))
        .col(binary("mac"))
        .to_owned()
}

fn key_versions() -> TableCreateStatement {
    table("key_versions")
        .col(string("key_id"))
        .col(big_integer("version"))
        .col(string("kid").unique_key())
        .col(string("state"))
        .col(string("origin"))
        .col(big_integer("created_at"))
        .col(big_integer_null("activated_at"))
        .col(big_integer_null("deactivated_at"))
        .col(big_integer_null("verify_until"))
        .col(big_integer("changed_at"))
        .col(text_null("reason"))
        .col(binary_null("alias_hash"))
        .col(binary_null("public_spki"))
        .col(binary_null("sealed"))
        .col(string("dek_id"))
        .col(binary("mac"))
        .primary_key(Index::create().col("key_id").col("version"))
        .to_owned()
}

fn principals() -> TableCreateStatement {
    table("principals")
        .col(string("id").primary_key())
        .col(string("name"))
        .col(binary("token_hash").unique_key())
        .col(text("roles"))
        .col(big_integer("created_at"))
        .col(big_integer_null("expires_at"))
        .col(big_integer_null("disabled_at"))
        .col(binary("mac"))
        .to_owned()
}

fn changes() -> TableCreateStatement {
    table("changes")
        .col(big_integer("epoch"))
        .col(integer("ordinal"))
        .col(big_integer("at"))
        .col(string("kind"))
        .col(string_null("key_name"))
        .col(big_integer_null("version"))
        .col(string_null("kid"))
        .col(string_null("state"))
        .col(big_integer_null("previous_version"))
        .col(text_null("reason"))
        .col(string("actor"))
        .col(text("record"))
        .col(binary("head_hash"))
        .primary_key(Index::create().col("epoch").col("ordinal"))
        .to_owned()
}

fn nodes() -> TableCreateStatement {
    table("nodes")
        .col(string("name").primary_key())
        .col(string("boot_id"))
        .col(big_integer("applied_epoch"))
        .col(big_integer("seen_at"))
        .col(big_integer("started_at"))
        .col(string("version"))
        .col(boolean("draining"))
        .to_owned()
}

fn idempotency() -> TableCreateStatement {
    table("idempotency")
        .col(string("scope"))
        .col(string("idem_key"))
        .col(binary("request_hash"))
        .col(string("dek_id"))
        .col(binary("response"))
        .col(big_integer("created_at"))
        .col(big_integer("expires_at"))
        .primary_key(Index::create().col("scope").col("idem_key"))
        .to_owned()
}
