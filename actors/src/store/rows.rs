//! Records ↔ rows.

use std::sync::Arc;

use chrono::DateTime;
use claviger_entity::{
    HumanDuration, KeyName, VersionNumber,
    tables::{device, key, key_version, pairing_request, policy, principal},
};
use claviger_policy::PolicyDocument;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::StoreError;
use crate::{
    access::{PolicyRecord, PreviousToken, PrincipalRecord},
    devices::{Device, PairingRecord, device_id},
    keyring::{
        Epoch,
        record::{KeyRecord, Origin, Time, VersionRecord},
    },
    seal::{Keychain, mac_of_row},
};

/// An epoch as its columns hold it.
pub(super) fn epoch(epoch: Epoch) -> i64 {
    i64::try_from(epoch.0).unwrap_or(i64::MAX)
}

/// What is wrong with a row whose MAC fits: it was written by another release.
pub(super) const UNREADABLE: &str = "row can't be read by this release";

pub(super) fn key_row(keychain: &Keychain, record: &KeyRecord) -> Result<key::Model, StoreError> {
    let mut row = key::Model {
        id: record.id.to_string(),
        name: record.name.as_str().to_owned(),
        key_type: record.key_type.as_str().to_owned(),
        bits: record.bits.map(i64::from),
        usage: record.usage.as_str().to_owned(),
        tier: record.tier.as_str().to_owned(),
        description: record.description.clone(),
        rotation: serde_json::to_string(&record.rotation)?,
        claims: serde_json::to_string(&record.claims)?,
        temporary: record.temporary.as_ref().map(serde_json::to_string).transpose()?,
        exportable: record.exportable,
        deletion_allowed: record.deletion_allowed,
        labels: serde_json::to_string(&record.labels)?,
        min_decryption_version: record.min_decryption_version.number().into(),
        created_at: record.created_at.timestamp_millis(),
        updated_at: record.updated_at.timestamp_millis(),
        delete_at: record.delete_at.map(millis),
        deleted_at: record.deleted_at.map(millis),
        revision: i64::try_from(record.revision).unwrap_or(i64::MAX),
        latest_version: record.latest_version.number().into(),
        longest_ttl: record.longest_ttl.map(|ttl| i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX)),
        mac: Vec::new(),
    };
    row.mac = mac_of_row(keychain, "keys", &row).to_vec();
    Ok(row)
}

pub(super) fn version_row(keychain: &Keychain, key_id: Uuid, record: &VersionRecord) -> key_version::Model {
    let mut row = key_version::Model {
        key_id: key_id.to_string(),
        version: record.version.number().into(),
        kid: record.kid.as_str().to_owned(),
        state: record.state.as_str().to_owned(),
        origin: record.origin.as_str().to_owned(),
        created_at: record.created_at.timestamp_millis(),
        activated_at: record.activated_at.map(millis),
        deactivated_at: record.deactivated_at.map(millis),
        verify_until: record.verify_until.map(millis),
        changed_at: record.changed_at.timestamp_millis(),
        reason: record.reason.clone(),
        alias_hash: record.alias_hash.map(Vec::from),
        public_spki: record.public_spki.as_deref().map(Vec::from),
        sealed: record.sealed.as_deref().map(Vec::from),
        dek_id: record.dek_id.to_string(),
        mac: Vec::new(),
    };
    row.mac = mac_of_row(keychain, "key_versions", &row).to_vec();
    row
}

pub(super) fn principal_row(
    keychain: &Keychain,
    record: &PrincipalRecord,
) -> Result<principal::Model, StoreError> {
    let mut row = principal::Model {
        id: record.id.to_string(),
        name: record.name.as_str().to_owned(),
        token_hash: record.token_hash.to_vec(),
        roles: serde_json::to_string(&record.roles)?,
        created_at: record.created_at.timestamp_millis(),
        expires_at: record.expires_at.map(millis),
        disabled_at: record.disabled_at.map(millis),
        previous_hash: record.previous.as_ref().map(|previous| previous.hash.to_vec()),
        previous_until: record.previous.as_ref().map(|previous| millis(previous.until)),
        mac: Vec::new(),
    };
    row.mac = mac_of_row(keychain, "principals", &row).to_vec();
    Ok(row)
}

pub(super) fn policy_row(keychain: &Keychain, record: &PolicyRecord) -> policy::Model {
    let mut row = policy::Model {
        name: record.name.as_str().to_owned(),
        text: record.text.clone(),
        description: record.description.clone(),
        created_at: millis(record.created_at),
        updated_at: millis(record.updated_at),
        revision: i64::try_from(record.revision).unwrap_or(i64::MAX),
        mac: Vec::new(),
    };
    row.mac = mac_of_row(keychain, "policies", &row).to_vec();
    row
}

pub(super) fn device_row(keychain: &Keychain, device: &Device) -> Result<device::Model, StoreError> {
    let mut row = device::Model {
        id: device.id.to_string(),
        public_key: device.public_key.to_vec(),
        client: serde_json::to_string(&device.client)?,
        grants: serde_json::to_string(&device.grants)?,
        created_at: millis(device.created_at),
        updated_at: millis(device.updated_at),
        mac: Vec::new(),
    };
    row.mac = mac_of_row(keychain, "devices", &row).to_vec();
    Ok(row)
}

pub(super) fn request_row(
    keychain: &Keychain,
    record: &PairingRecord,
) -> Result<pairing_request::Model, StoreError> {
    let mut row = pairing_request::Model {
        device_id: record.device.to_string(),
        id: record.id.to_string(),
        public_key: record.public_key.to_vec(),
        role: record.role.as_str().to_owned(),
        scopes: serde_json::to_string(&record.scopes)?,
        client: serde_json::to_string(&record.client)?,
        address: record.address.clone(),
        requested_by: record.requested_by.clone(),
        created_at: millis(record.created_at),
        expires_at: millis(record.expires_at),
        mac: Vec::new(),
    };
    row.mac = mac_of_row(keychain, "pairing_requests", &row).to_vec();
    Ok(row)
}

pub(super) fn key_record(row: &key::Model) -> Option<KeyRecord> {
    Some(KeyRecord {
        id: row.id.parse().ok()?,
        name: KeyName::from_row(&row.name).ok()?,
        key_type: row.key_type.parse().ok()?,
        bits: row.bits.map(u32::try_from).transpose().ok()?,
        usage: row.usage.parse().ok()?,
        tier: row.tier.parse().ok()?,
        description: row.description.clone(),
        rotation: json(&row.rotation)?,
        claims: json(&row.claims)?,
        temporary: match &row.temporary {
            Some(text) => Some(json(text)?),
            None => None,
        },
        exportable: row.exportable,
        deletion_allowed: row.deletion_allowed,
        labels: json(&row.labels)?,
        min_decryption_version: number(row.min_decryption_version)?,
        created_at: time(row.created_at)?,
        updated_at: time(row.updated_at)?,
        delete_at: optional_time(row.delete_at)?,
        deleted_at: optional_time(row.deleted_at)?,
        revision: u64::try_from(row.revision).ok()?,
        latest_version: number(row.latest_version)?,
        longest_ttl: match row.longest_ttl {
            Some(seconds) => Some(HumanDuration::from_secs(u64::try_from(seconds).ok()?)),
            None => None,
        },
    })
}

pub(super) fn version_record(row: &key_version::Model) -> Option<VersionRecord> {
    Some(VersionRecord {
        version: number(row.version)?,
        kid: row.kid.parse().ok()?,
        state: row.state.parse().ok()?,
        origin: match row.origin.as_str() {
            "generated" => Origin::Generated,
            "imported" => Origin::Imported,
            _ => return None,
        },
        created_at: time(row.created_at)?,
        activated_at: optional_time(row.activated_at)?,
        deactivated_at: optional_time(row.deactivated_at)?,
        verify_until: optional_time(row.verify_until)?,
        changed_at: time(row.changed_at)?,
        reason: row.reason.clone(),
        alias_hash: row.alias_hash.as_deref().map(<[u8; 32]>::try_from).transpose().ok()?,
        public_spki: row.public_spki.as_deref().map(Arc::from),
        sealed: row.sealed.as_deref().map(Arc::from),
        dek_id: row.dek_id.parse().ok()?,
    })
}

pub(super) fn principal_record(row: &principal::Model) -> Option<PrincipalRecord> {
    Some(PrincipalRecord {
        id: row.id.parse().ok()?,
        name: row.name.parse().ok()?,
        token_hash: row.token_hash.as_slice().try_into().ok()?,
        previous: match (&row.previous_hash, row.previous_until) {
            (Some(hash), Some(until)) => {
                Some(PreviousToken { hash: hash.as_slice().try_into().ok()?, until: time(until)? })
            }
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return None,
        },
        roles: json(&row.roles)?,
        created_at: time(row.created_at)?,
        expires_at: optional_time(row.expires_at)?,
        disabled_at: optional_time(row.disabled_at)?,
    })
}

pub(super) fn policy_record(row: &policy::Model) -> Option<PolicyRecord> {
    let name = row.name.parse().ok()?;
    Some(PolicyRecord {
        document: PolicyDocument::parse(&name, &row.text).ok()?,
        name,
        text: row.text.clone(),
        description: row.description.clone(),
        created_at: time(row.created_at)?,
        updated_at: time(row.updated_at)?,
        revision: u64::try_from(row.revision).ok()?,
    })
}

pub(super) fn device_record(row: &device::Model) -> Option<Device> {
    let public_key = row.public_key.as_slice().try_into().ok()?;
    let id = row.id.parse().ok().filter(|id| *id == device_id(&public_key))?;
    Some(Device {
        id,
        public_key,
        client: json(&row.client)?,
        grants: json(&row.grants)?,
        created_at: time(row.created_at)?,
        updated_at: time(row.updated_at)?,
    })
}

pub(super) fn request_record(row: &pairing_request::Model) -> Option<PairingRecord> {
    let public_key = row.public_key.as_slice().try_into().ok()?;
    let device = row.device_id.parse().ok().filter(|id| *id == device_id(&public_key))?;
    Some(PairingRecord {
        id: row.id.parse().ok()?,
        device,
        public_key,
        role: row.role.parse().ok()?,
        scopes: json(&row.scopes)?,
        client: json(&row.client)?,
        address: row.address.clone(),
        requested_by: row.requested_by.clone(),
        created_at: time(row.created_at)?,
        expires_at: time(row.expires_at)?,
    })
}

pub(super) const fn millis(at: Time) -> i64 {
    at.timestamp_millis()
}

fn json<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}

fn number(number: i64) -> Option<VersionNumber> {
    VersionNumber::new(u32::try_from(number).ok()?).ok()
}

fn time(millis: i64) -> Option<Time> {
    DateTime::from_timestamp_millis(millis)
}

/// The outer `None` is a time that can't be.
#[expect(clippy::option_option, reason = "absent and impossible are two things")]
fn optional_time(millis: Option<i64>) -> Option<Option<Time>> {
    match millis {
        None => Some(None),
        Some(millis) => time(millis).map(Some),
    }
}
