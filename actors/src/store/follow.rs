//! What others have changed: the rows that the change log names, and no more.

use std::collections::{BTreeMap, BTreeSet};

use claviger_entity::{
    DeviceId, PolicyName,
    tables::{change, device, key, key_version, policy, principal, ring_meta},
};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    QueryTrait as _,
};
use uuid::Uuid;

use super::{
    Database, StoreError, incidents,
    load::{self, LoadedRing},
    meta, rows,
};
use crate::{
    access::{Manifest, PolicyRecord, PrincipalRecord},
    devices::Device,
    incidents::Standing,
    keyring::{
        Position,
        record::{Key, VersionRecord},
    },
    seal::Keychain,
};

/// Lines of the change log that are followed one by one; behind more of them, the whole ring is read.
const LINES_MAX: u64 = 2_000;

/// How a database has gone on from a position.
pub enum Followed {
    /// It is where it was.
    Same,
    /// It has these changes.
    Changed(Box<Changes>),
    /// It is far ahead, a new incarnation, or has rows that need a closer look.
    Whole(Box<LoadedRing>),
    /// The position is not in its history: it is a copy of earlier, or one that lost commits.
    Rewound,
}

/// Rows as they are now, of everything that has changed.
pub struct Changes {
    /// Where that leads.
    pub position: Position,
    /// Keys with all of their versions.
    pub keys: Vec<Key>,
    /// Principals.
    pub principals: Vec<PrincipalRecord>,
    /// Policies, those that are gone without a record.
    pub policies: Vec<(PolicyName, Option<PolicyRecord>)>,
    /// The policies that there should be.
    pub manifest: Manifest,
    /// Devices, those that are gone without a record.
    pub devices: Vec<(DeviceId, Option<Device>)>,
    /// Incidents that are not over, where that has changed.
    pub standing: Option<Standing>,
}

/// What a record says that it is about.
#[derive(serde::Deserialize)]
struct Record {
    key: Option<String>,
    api_key: Option<String>,
    policy: Option<String>,
    device: Option<DeviceId>,
    /// It was settled, and that was all.
    pairing_request: Option<Uuid>,
    /// It was opened, or has gone on.
    incident: Option<Uuid>,
}

/// What the lines of the change log name.
#[derive(Default)]
struct Named {
    keys: BTreeSet<String>,
    principals: BTreeSet<Uuid>,
    policies: BTreeSet<String>,
    devices: BTreeSet<DeviceId>,
    incidents: bool,
}

impl Database {
    /// What others have changed since a position.
    ///
    /// # Errors
    /// The database failed.
    pub async fn follow(&self, keychain: &Keychain, from: &Position) -> Result<Followed, StoreError> {
        let transaction = self.reading().await?;
        let meta = ring_meta::Entity::find_by_id(1).one(&transaction).await?;
        let followed = follow(&transaction, keychain, &meta.ok_or(StoreError::MetaDamaged)?, from).await;
        transaction.rollback().await?;
        followed
    }
}

pub(super) async fn follow(
    connection: &impl ConnectionTrait,
    keychain: &Keychain,
    meta: &ring_meta::Model,
    from: &Position,
) -> Result<Followed, StoreError> {
    let to = meta::position(keychain, meta)?;
    if to == *from {
        return Ok(Followed::Same);
    }
    if to.epoch.incarnation() > from.epoch.incarnation() {
        return Ok(Followed::Whole(Box::new(load::whole(connection, keychain, meta).await?)));
    }
    if to.epoch <= from.epoch || !is_in_history(connection, from).await? {
        return Ok(Followed::Rewound);
    }
    let lines = change::Entity::find()
        .filter(change::Column::Epoch.gt(rows::epoch(from.epoch)))
        .order_by_asc(change::Column::Epoch)
        .order_by_asc(change::Column::Ordinal)
        .limit(LINES_MAX)
        .all(connection)
        .await?;
    // A log that does not lead from here to there names too little, or was touched.
    let named = chained(&lines, from).filter(|(_, end)| *end == to).map(|(named, _)| named);
    let changes = match named {
        Some(named) => changes(connection, keychain, meta, named, to).await?,
        None => None,
    };
    match changes {
        Some(changes) => Ok(Followed::Changed(Box::new(changes))),
        None => Ok(Followed::Whole(Box::new(load::whole(connection, keychain, meta).await?))),
    }
}

/// The change at this epoch is the one that was seen there.
async fn is_in_history(connection: &impl ConnectionTrait, position: &Position) -> Result<bool, StoreError> {
    if position.epoch.counter() == 0 {
        return Ok(true);
    }
    let line = change::Entity::find_by_id((rows::epoch(position.epoch), 0)).one(connection).await?;
    Ok(line.is_some_and(|line| line.head_hash == position.head))
}

/// What the lines name and where they lead, if each change continues the one before.
fn chained(lines: &[change::Model], from: &Position) -> Option<(Named, Position)> {
    let (mut named, mut at) = (Named::default(), *from);
    for line in lines {
        if line.ordinal == 0 {
            at = at.after(&line.record);
        }
        if line.epoch != rows::epoch(at.epoch) || line.head_hash != at.head {
            return None;
        }
        // The names of the record, not those of the columns beside it: the hash covers the record.
        match serde_json::from_str(&line.record).ok()? {
            Record { key: Some(key), .. } => drop(named.keys.insert(key)),
            Record { api_key: Some(id), .. } => drop(named.principals.insert(Uuid::try_parse(&id).ok()?)),
            Record { policy: Some(name), .. } => drop(named.policies.insert(name)),
            Record { device: Some(id), .. } => drop(named.devices.insert(id)),
            Record { pairing_request: Some(_), .. } => {}
            // A change of something else may be a step of one; that changes nothing of the incident.
            Record { incident: Some(_), .. } => named.incidents = true,
            Record {
                key: None,
                api_key: None,
                policy: None,
                device: None,
                pairing_request: None,
                incident: None,
            } => return None,
        }
    }
    Some((named, at))
}

/// The rows; `None` when one is not sound, since only a look at everything tells what that means.
async fn changes(
    connection: &impl ConnectionTrait,
    keychain: &Keychain,
    meta: &ring_meta::Model,
    named: Named,
    position: Position,
) -> Result<Option<Changes>, StoreError> {
    let Some(keys) = keys(connection, keychain, named.keys).await? else { return Ok(None) };
    let Some(principals) = principals(connection, keychain, named.principals).await? else { return Ok(None) };
    let manifest = load::manifest(meta)?;
    let Some(policies) = policies(connection, keychain, named.policies, &manifest).await? else {
        return Ok(None);
    };
    let Some(devices) = devices(connection, keychain, named.devices).await? else { return Ok(None) };
    let standing = if named.incidents {
        let (standing, damaged) = incidents::standing(connection, keychain).await?;
        if !damaged.is_empty() {
            return Ok(None);
        }
        Some(standing)
    } else {
        None
    };
    Ok(Some(Changes { position, keys, principals, policies, manifest, devices, standing }))
}

async fn keys(
    connection: &impl ConnectionTrait,
    keychain: &Keychain,
    names: BTreeSet<String>,
) -> Result<Option<Vec<Key>>, StoreError> {
    if names.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let backend = connection.get_database_backend();
    let wanted = names.len();
    let query = key::Entity::find().filter(key::Column::Name.is_in(names)).build(backend);
    let mut keys = BTreeMap::new();
    for row in connection.query_all_raw(query).await? {
        let Ok(record) = load::key_of(keychain, &row) else { return Ok(None) };
        keys.insert(record.id.to_string(), Key { record, versions: BTreeMap::new() });
    }
    if keys.len() != wanted {
        return Ok(None);
    }
    let ids: Vec<String> = keys.keys().cloned().collect();
    let query = key_version::Entity::find().filter(key_version::Column::KeyId.is_in(ids)).build(backend);
    for row in connection.query_all_raw(query).await? {
        let key_id = row.try_get::<String>("", "key_id");
        let (Ok(id), Ok(version)) = (key_id, load::version_of(keychain, &row)) else { return Ok(None) };
        let version: VersionRecord = version;
        if let Some(key) = keys.get_mut(&id) {
            key.versions.insert(version.version, version);
        }
    }
    let is_whole = |key: &Key| {
        key.versions.len() == usize::try_from(key.record.latest_version.number()).unwrap_or(usize::MAX)
    };
    Ok(keys.values().all(is_whole).then(|| keys.into_values().collect()))
}

async fn principals(
    connection: &impl ConnectionTrait,
    keychain: &Keychain,
    ids: BTreeSet<Uuid>,
) -> Result<Option<Vec<PrincipalRecord>>, StoreError> {
    if ids.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let ids: Vec<String> = ids.iter().map(Uuid::to_string).collect();
    let wanted = ids.len();
    let query = principal::Entity::find().filter(principal::Column::Id.is_in(ids));
    let found = connection.query_all_raw(query.build(connection.get_database_backend())).await?;
    let records: Option<Vec<PrincipalRecord>> = found
        .iter()
        .map(|row| {
            let row =
                load::authentic::<principal::Model>(keychain, "principals", row, |row| &row.mac).ok()?;
            rows::principal_record(&row)
        })
        .collect();
    Ok(records.filter(|records| records.len() == wanted))
}

async fn policies(
    connection: &impl ConnectionTrait,
    keychain: &Keychain,
    names: BTreeSet<String>,
    manifest: &Manifest,
) -> Result<Option<Vec<(PolicyName, Option<PolicyRecord>)>>, StoreError> {
    let mut policies = Vec::new();
    for name in names {
        let Ok(parsed) = name.parse::<PolicyName>() else { return Ok(None) };
        let query = policy::Entity::find_by_id(name.as_str());
        let row = connection.query_one_raw(query.build(connection.get_database_backend())).await?;
        let record = row.as_ref().and_then(|row| {
            let row = load::authentic::<policy::Model>(keychain, "policies", row, |row| &row.mac).ok()?;
            rows::policy_record(&row)
        });
        let expected = manifest.get(&name).map(|expected| expected.revision);
        if record.as_ref().map(|record| record.revision) != expected || record.is_some() != row.is_some() {
            return Ok(None);
        }
        policies.push((parsed, record));
    }
    Ok(Some(policies))
}

async fn devices(
    connection: &impl ConnectionTrait,
    keychain: &Keychain,
    ids: BTreeSet<DeviceId>,
) -> Result<Option<Vec<(DeviceId, Option<Device>)>>, StoreError> {
    if ids.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let wanted = ids.iter().map(ToString::to_string);
    let query = device::Entity::find().filter(device::Column::Id.is_in(wanted));
    // Those of which nothing is found are gone.
    let mut devices: BTreeMap<DeviceId, Option<Device>> = ids.into_iter().map(|id| (id, None)).collect();
    for row in connection.query_all_raw(query.build(connection.get_database_backend())).await? {
        let Ok(device) = load::device_of(keychain, &row) else { return Ok(None) };
        devices.insert(device.id, Some(device));
    }
    Ok(Some(devices.into_iter().collect()))
}
