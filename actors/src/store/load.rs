//! Reading the whole ring, row by row, so that one bad row costs one row.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use claviger_entity::{
    DeviceId,
    tables::{device, key, key_version, policy, principal, principal_use, ring_meta},
};
use sea_orm::{
    ConnectionTrait, DatabaseTransaction, EntityTrait, FromQueryResult, IsolationLevel, Iterable, ModelTrait,
    QueryOrder as _, QueryResult, QueryTrait as _, TransactionTrait as _,
};

use super::{Database, Restored, StoreError, incidents, meta, rows};
use crate::{
    access::{Access, Manifest, PolicyRecord, Principal},
    devices::{Device, Devices},
    incidents::Standing,
    keyring::{
        Position,
        record::{Key, KeyRecord, Quarantined, VersionRecord},
    },
    seal::{Keychain, mac_of_row},
};

/// A ring as the database has it.
pub struct LoadedRing {
    /// Where in history.
    pub position: Position,
    /// Keys whose rows are sound.
    pub keys: Vec<Key>,
    /// Rows that are not.
    pub quarantined: Vec<Quarantined>,
    /// Principals and policies whose rows are sound.
    pub access: Access,
    /// Devices, likewise.
    pub devices: Devices,
    /// It was restored from a backup and is not released yet.
    pub restored: Option<Restored>,
    /// Incidents that are not over, likewise.
    pub standing: Standing,
}

pub(super) const EDITED: &str = "row was changed outside the service";
const MISSING: &str = "row is missing";
const STRAY: &str = "row is not the one that was written last";
const ORPHAN: &str = "row belongs to no key";

impl Database {
    /// Reads the ring.
    ///
    /// # Errors
    /// The database failed. Damaged rows are no error: they are named in the answer and left alone.
    pub async fn load_ring(&self, keychain: &Keychain) -> Result<LoadedRing, StoreError> {
        let transaction = self.reading().await?;
        if self.is_shared() {
            // Between two statements the rows of a big ring are judged; it holds no lock that anybody waits for.
            transaction.execute_unprepared("SET LOCAL idle_in_transaction_session_timeout = '60s'").await?;
        }
        let meta = ring_meta::Entity::find_by_id(1).one(&transaction).await?;
        let loaded = whole(&transaction, keychain, &meta.ok_or(StoreError::MetaDamaged)?).await;
        transaction.rollback().await?;
        loaded
    }

    /// A transaction that sees the database as it is at one moment.
    pub(super) async fn reading(&self) -> Result<DatabaseTransaction, StoreError> {
        // SQLite has no other.
        let isolation = self.is_shared().then_some(IsolationLevel::RepeatableRead);
        Ok(self.connection.begin_with_config(isolation, None).await?)
    }
}

/// Reads the ring as the transaction sees it.
pub(super) async fn whole(
    connection: &impl ConnectionTrait,
    keychain: &Keychain,
    meta: &ring_meta::Model,
) -> Result<LoadedRing, StoreError> {
    let backend = connection.get_database_backend();
    let position = meta::position(keychain, meta)?;
    let mut quarantined = Vec::new();

    let all = key::Entity::find().order_by_asc(key::Column::Name).build(backend);
    let mut records = BTreeMap::new();
    let mut names = HashMap::new();
    for row in connection.query_all_raw(all).await? {
        let (id, name) = (text(&row, "id"), text(&row, "name"));
        names.insert(id, name.clone());
        match key_of(keychain, &row) {
            Ok(record) => drop(records.insert(record.id.to_string(), record)),
            Err(finding) => quarantined.push(Quarantined { key: name, version: None, finding }),
        }
    }

    let all = key_version::Entity::find()
        .order_by_asc(key_version::Column::KeyId)
        .order_by_asc(key_version::Column::Version)
        .build(backend);
    let mut versions: HashMap<String, BTreeMap<_, VersionRecord>> = HashMap::new();
    let mut damaged = std::collections::HashSet::new();
    for row in connection.query_all_raw(all).await? {
        let key_id = text(&row, "key_id");
        let number = row.try_get::<i64>("", "version").ok().and_then(|number| u32::try_from(number).ok());
        let mut finding = version_of(keychain, &row);
        if !names.contains_key(&key_id) {
            finding = Err(ORPHAN);
        }
        match finding {
            Ok(record) => drop(versions.entry(key_id).or_default().insert(record.version, record)),
            Err(finding) => {
                damaged.insert((key_id.clone(), number));
                let key = names.get(&key_id).cloned().unwrap_or(key_id);
                quarantined.push(Quarantined { key, version: number, finding });
            }
        }
    }

    let keys: Vec<Key> = records
        .into_iter()
        .map(|(id, record)| Key { versions: versions.remove(&id).unwrap_or_default(), record })
        .collect();
    for key in &keys {
        let id = key.record.id.to_string();
        for number in 1..=key.record.latest_version.number() {
            let known = key.versions.keys().any(|version| version.number() == number);
            if !known && !damaged.contains(&(id.clone(), Some(number))) {
                let name = key.record.name.as_str().to_owned();
                quarantined.push(Quarantined { key: name, version: Some(number), finding: MISSING });
            }
        }
    }
    let manifest = manifest(meta)?;
    let principals = principals(connection, keychain, &mut quarantined).await?;
    let policies = policies(connection, keychain, &mut quarantined).await?;
    let access = Access::new(principals, policies, manifest);
    for name in access.strays() {
        quarantined.push(Quarantined { key: format!("policy {name}"), version: None, finding: STRAY });
    }
    for name in access.missing() {
        let key = format!("policy {name}");
        if !quarantined.iter().any(|row| row.key == key) {
            quarantined.push(Quarantined { key, version: None, finding: MISSING });
        }
    }
    let devices = devices(connection, keychain, &mut quarantined).await?;
    let standing = standing(connection, keychain, &mut quarantined).await?;
    quarantined.sort();
    let restored = meta::restored(meta)?;
    Ok(LoadedRing { position, keys, quarantined, access, devices, restored, standing })
}

async fn standing(
    connection: &impl ConnectionTrait,
    keychain: &Keychain,
    quarantined: &mut Vec<Quarantined>,
) -> Result<Standing, StoreError> {
    let (standing, damaged) = incidents::standing(connection, keychain).await?;
    let named = |id| Quarantined { key: format!("incident {id}"), version: None, finding: EDITED };
    quarantined.extend(damaged.into_iter().map(named));
    Ok(standing)
}

/// The policies that there should be.
pub(super) fn manifest(meta: &ring_meta::Model) -> Result<Manifest, StoreError> {
    Ok(meta.policies.as_deref().map(serde_json::from_str).transpose()?.unwrap_or_default())
}

async fn principals(
    connection: &impl ConnectionTrait,
    keychain: &Keychain,
    quarantined: &mut Vec<Quarantined>,
) -> Result<Vec<Principal>, StoreError> {
    let uses = principal_use::Entity::find().all(connection).await?;
    let uses: HashMap<String, i64> =
        uses.into_iter().map(|row| (row.principal_id, row.last_used_at)).collect();
    let all = principal::Entity::find().build(connection.get_database_backend());
    let mut principals = Vec::new();
    for row in connection.query_all_raw(all).await? {
        let sound = authentic::<principal::Model>(keychain, "principals", &row, |row| &row.mac)
            .and_then(|row| rows::principal_record(&row).ok_or(rows::UNREADABLE));
        match sound {
            Ok(record) => {
                let used = uses.get(&record.id.to_string()).copied();
                principals
                    .push(Principal::new(record, used.and_then(chrono::DateTime::from_timestamp_millis)));
            }
            Err(finding) => {
                let key = format!("principal {}", text(&row, "id"));
                quarantined.push(Quarantined { key, version: None, finding });
            }
        }
    }
    Ok(principals)
}

async fn policies(
    connection: &impl ConnectionTrait,
    keychain: &Keychain,
    quarantined: &mut Vec<Quarantined>,
) -> Result<Vec<PolicyRecord>, StoreError> {
    let all = policy::Entity::find().build(connection.get_database_backend());
    let mut policies = Vec::new();
    for row in connection.query_all_raw(all).await? {
        let sound = authentic::<policy::Model>(keychain, "policies", &row, |row| &row.mac)
            .and_then(|row| rows::policy_record(&row).ok_or(rows::UNREADABLE));
        match sound {
            Ok(record) => policies.push(record),
            Err(finding) => {
                let key = format!("policy {}", text(&row, "name"));
                quarantined.push(Quarantined { key, version: None, finding });
            }
        }
    }
    Ok(policies)
}

async fn devices(
    connection: &impl ConnectionTrait,
    keychain: &Keychain,
    quarantined: &mut Vec<Quarantined>,
) -> Result<Devices, StoreError> {
    let all = device::Entity::find().build(connection.get_database_backend());
    let (mut devices, mut damaged) = (Vec::new(), BTreeSet::new());
    for row in connection.query_all_raw(all).await? {
        match device_of(keychain, &row) {
            Ok(device) => devices.push(device),
            Err(finding) => {
                let id = text(&row, "id");
                damaged.extend(id.parse::<DeviceId>());
                quarantined.push(Quarantined { key: format!("device {id}"), version: None, finding });
            }
        }
    }
    Ok(Devices::new(devices, damaged))
}

pub(super) fn device_of(keychain: &Keychain, row: &QueryResult) -> Result<Device, &'static str> {
    let row = authentic::<device::Model>(keychain, "devices", row, |row| &row.mac)?;
    rows::device_record(&row).ok_or(rows::UNREADABLE)
}

pub(super) fn key_of(keychain: &Keychain, row: &QueryResult) -> Result<KeyRecord, &'static str> {
    let row = authentic::<key::Model>(keychain, "keys", row, |row| &row.mac)?;
    rows::key_record(&row).ok_or(rows::UNREADABLE)
}

pub(super) fn version_of(keychain: &Keychain, row: &QueryResult) -> Result<VersionRecord, &'static str> {
    let row = authentic::<key_version::Model>(keychain, "key_versions", row, |row| &row.mac)?;
    let record = rows::version_record(&row).ok_or(rows::UNREADABLE)?;
    // A sound row can't lack its material unless it was erased.
    if record.sealed.is_none() && !record.state.is_erased() {
        return Err(rows::UNREADABLE);
    }
    Ok(record)
}

/// The row as a model, if its columns have their types and its MAC fits.
pub(super) fn authentic<M>(
    keychain: &Keychain,
    table: &str,
    row: &QueryResult,
    mac: fn(&M) -> &Vec<u8>,
) -> Result<M, &'static str>
where
    M: ModelTrait + FromQueryResult,
    <M::Entity as EntityTrait>::Column: Iterable,
{
    let model = M::from_query_result(row, "").map_err(|_| EDITED)?;
    let fits = claviger_crypto::digest::ct_eq(&mac_of_row(keychain, table, &model), mac(&model));
    if fits { Ok(model) } else { Err(EDITED) }
}

/// A column for naming a row that may be damaged.
fn text(row: &QueryResult, column: &str) -> String {
    row.try_get::<String>("", column).unwrap_or_else(|_| "(unreadable)".to_owned())
}
