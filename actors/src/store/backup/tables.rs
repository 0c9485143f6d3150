//! Every table of the schema: in a backup, or left out of it for a reason. A test holds this list against the schema, so that nobody adds a
//! table without saying which.

use claviger_entity::tables::{
    audit_chain, audit_event, auth_token, change, data_key, device, idempotency, incident, incident_step,
    incident_use, key, key_use, key_version, node_settings, offline_token, old_master, policy, principal,
    principal_use, rekey, revocation, ring_meta, secret, secret_version,
};
use sea_orm::{ConnectionTrait, DatabaseTransaction, Value as Column};
use serde_json::Value;

use super::{
    super::StoreError,
    row::{self, Rows},
};
use crate::seal::Keychain;

/// Tables that no backup holds, and why.
pub const LEFT_OUT: &[(&str, &str)] = &[
    ("nodes", "who serves now; nobody serves what is restored until it starts"),
    ("backups", "which of them were made where; a restored deployment begins anew"),
    ("pairing_requests", "they wait for minutes; a device asks again"),
    (
        "refresh_tokens",
        "a restore drops them: one that was spent after the backup would be good for a second use",
    ),
    ("alerts", "what was wrong where the backup was made; whoever is restored looks anew"),
    ("alert_sightings", "who saw it there"),
    ("alert_deliveries", "what was to be told of it; telling it again would be false"),
    ("alert_silences", "they last for hours, and are about what was wrong there"),
    ("refresh_leases", "who is refreshing tokens of a third party at this moment"),
    ("seaql_migrations", "the header names the schema; a restore makes its own"),
];

macro_rules! tables {
    ($($variant:ident = $module:ident $name:literal,)+) => {
        /// A table that a backup holds.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum BackupTable { $(#[doc = $name] $variant,)+ }

        impl BackupTable {
            /// In the order of a backup: first what is needed to judge the rest.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// As the schema calls it.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// Names of its columns, as rows have them.
            pub(crate) fn columns(self) -> Vec<&'static str> {
                match self { $(Self::$variant => row::columns::<$module::Entity>(),)+ }
            }

            /// The next rows behind a primary key, and the primary key of the last of them.
            pub(crate) async fn page(
                self,
                connection: &impl ConnectionTrait,
                keychain: &Keychain,
                (after, limit): (Option<&[Column]>, u64),
            ) -> Result<(Rows, Option<Vec<Column>>), StoreError> {
                match self {
                    $(Self::$variant => {
                        row::page::<$module::Entity>(connection, ($name, keychain), (after, limit)).await
                    })+
                }
            }

            /// How many rows there are.
            pub(crate) async fn count(self, connection: &impl ConnectionTrait) -> Result<u64, StoreError> {
                match self { $(Self::$variant => row::count::<$module::Entity>(connection).await,)+ }
            }

            /// A row of a backup is as the service wrote it; `None`: it is no row of this table at all.
            pub(crate) fn is_sound(self, keychain: &Keychain, columns: &[String], values: &[Value]) -> Option<bool> {
                match self {
                    $(Self::$variant => {
                        let model = row::decode::<$module::Entity, $module::ActiveModel>(columns, values)?;
                        Some(row::is_sound(keychain, $name, &model))
                    })+
                }
            }

            /// Writes rows of a backup.
            pub(crate) async fn insert(
                self,
                transaction: &DatabaseTransaction,
                columns: &[String],
                rows: &[Vec<Value>],
            ) -> Result<(), StoreError> {
                match self {
                    $(Self::$variant => {
                        row::insert::<$module::Entity, $module::ActiveModel>(transaction, columns, rows).await
                    })+
                }
            }
        }
    };
}

tables! {
    RingMeta = ring_meta "ring_meta",
    DataKeys = data_key "data_keys",
    Keys = key "keys",
    KeyVersions = key_version "key_versions",
    KeyUses = key_use "key_uses",
    OldMasters = old_master "old_masters",
    Rekeys = rekey "rekeys",
    Principals = principal "principals",
    PrincipalUses = principal_use "principal_uses",
    Policies = policy "policies",
    Devices = device "devices",
    Revocations = revocation "revocations",
    Incidents = incident "incidents",
    IncidentSteps = incident_step "incident_steps",
    IncidentUses = incident_use "incident_uses",
    Secrets = secret "secrets",
    SecretVersions = secret_version "secret_versions",
    AuthTokens = auth_token "auth_tokens",
    OfflineTokens = offline_token "offline_tokens",
    Idempotency = idempotency "idempotency",
    AuditChains = audit_chain "audit_chains",
    NodeSettings = node_settings "node_settings",
    AuditEvents = audit_event "audit_events",
    Changes = change "changes",
}

impl BackupTable {
    /// The table of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|table| table.name() == name)
    }
}

/// Names of the tables that a backup holds.
#[must_use]
pub fn backed_up() -> Vec<&'static str> {
    BackupTable::ALL.iter().map(|table| table.name()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use sea_orm::{ConnectionTrait as _, DbBackend, Statement};

    use super::*;
    use crate::store::{Database, Place};

    /// Whoever adds a table says whether a backup holds it, and which columns it has.
    #[actix::test]
    async fn every_table_and_column_is_in_a_backup_or_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(Place::File(&folder.path().join("db"))).await.unwrap();
        let connection = database.connection_for_tests();
        let ask = async |sql: String| {
            let rows =
                connection.query_all_raw(Statement::from_string(DbBackend::Sqlite, sql)).await.unwrap();
            rows.iter().map(|row| row.try_get::<String>("", "name").unwrap()).collect::<BTreeSet<_>>()
        };
        let schema = ask(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'".to_owned()
        )
        .await;
        let left_out = LEFT_OUT.iter().map(|(name, _)| (*name).to_owned());
        let said: BTreeSet<String> = backed_up().into_iter().map(str::to_owned).chain(left_out).collect();
        assert_eq!(schema, said);
        for table in BackupTable::ALL {
            let columns = ask(format!("SELECT name FROM pragma_table_info('{}')", table.name())).await;
            assert_eq!(columns, table.columns().into_iter().map(str::to_owned).collect(), "{}", table.name());
        }
    }
}
