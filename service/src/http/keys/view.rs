//! Keys as callers see them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use claviger_actors::keyring::{
    Snapshot, policy,
    record::{Key, VersionRecord},
};
use claviger_entity::{
    HumanDuration, KeyName, KeyState, KeyType, Kid, Tier, Usage, VersionNumber,
    domain::{claims::ClaimRules, temporary::TemporaryPolicy},
};
use serde::Serialize;

/// How many versions a key shows of itself.
const SHOWN_VERSIONS: usize = 10;

/// A key.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Key)]
pub struct KeyView {
    name: KeyName,
    #[serde(rename = "type")]
    key_type: KeyType,
    usage: Usage,
    tier: Tier,
    #[serde(skip_serializing_if = "Option::is_none")]
    bits: Option<u32>,
    description: Option<String>,
    labels: BTreeMap<String, String>,
    /// The version that signs or encrypts; null while there is none.
    primary_version: Option<VersionNumber>,
    latest_version: VersionNumber,
    min_decryption_version: VersionNumber,
    /// The newest ten.
    versions: Vec<VersionView>,
    rotation: RotationView,
    next_rotation_at: Option<DateTime<Utc>>,
    claims: ClaimRules,
    #[serde(skip_serializing_if = "Option::is_none")]
    temporary: Option<TemporaryView>,
    exportable: bool,
    deletion_allowed: bool,
    /// When the key will be destroyed, once that is scheduled.
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// Versions whose rows were changed in the database from outside.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    quarantined: Vec<QuarantinedView>,
}

/// One version.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Version)]
pub struct VersionView {
    version: VersionNumber,
    kid: Kid,
    state: KeyState,
    /// `generated` or `imported`.
    origin: &'static str,
    /// When it was published.
    created_at: DateTime<Utc>,
    activated_at: Option<DateTime<Utc>>,
    deactivated_at: Option<DateTime<Utc>>,
    /// Until when what it made verifies; null = without end.
    verify_until: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Rotation as it is in force, defaults filled in.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = RotationInForce)]
struct RotationView {
    #[serde(skip_serializing_if = "Option::is_none")]
    every: Option<HumanDuration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cron: Option<String>,
    lead: HumanDuration,
    /// Absent = versions verify and decrypt until an operator ends them.
    #[serde(skip_serializing_if = "Option::is_none")]
    grace: Option<HumanDuration>,
    /// When the standby may sign at the earliest.
    earliest_activation: Option<DateTime<Utc>>,
}

/// A temporary key's policy and what is left of it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Temporary)]
struct TemporaryView {
    #[serde(flatten)]
    policy: TemporaryPolicy,
    expires_at: DateTime<Utc>,
    /// Signatures or encryptions left.
    produce_left: u32,
    /// Verifications or decryptions left.
    consume_left: u32,
}

/// A damaged row.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Quarantined)]
struct QuarantinedView {
    version: Option<u32>,
    finding: &'static str,
}

impl KeyView {
    /// A key as it is in a snapshot.
    #[must_use]
    pub fn new(snapshot: &Snapshot, key: &Key) -> Self {
        let record = &key.record;
        let damaged = snapshot.quarantined().iter().filter(|row| row.key == record.name.as_str());
        Self {
            name: record.name.clone(),
            key_type: record.key_type,
            usage: record.usage,
            tier: record.tier,
            bits: record.bits,
            description: record.description.clone(),
            labels: record.labels.clone(),
            primary_version: key.primary().map(|version| version.version),
            latest_version: record.latest_version,
            min_decryption_version: record.min_decryption_version,
            versions: key.versions.values().rev().take(SHOWN_VERSIONS).map(VersionView::new).collect(),
            rotation: RotationView::new(key),
            next_rotation_at: policy::next_rotation_at(key),
            claims: record.claims.clone(),
            temporary: record.temporary.as_ref().map(|temporary| TemporaryView {
                policy: temporary.policy.clone(),
                expires_at: temporary.expires_at,
                produce_left: temporary.produce_left,
                consume_left: temporary.consume_left,
            }),
            exportable: record.exportable,
            deletion_allowed: record.deletion_allowed,
            deletion_at: record.delete_at,
            created_at: record.created_at,
            updated_at: record.updated_at,
            quarantined: damaged
                .map(|row| QuarantinedView { version: row.version, finding: row.finding })
                .collect(),
        }
    }
}

impl VersionView {
    /// A version.
    #[must_use]
    pub fn new(record: &VersionRecord) -> Self {
        Self {
            version: record.version,
            kid: record.kid.clone(),
            state: record.state,
            origin: record.origin.as_str(),
            created_at: record.created_at,
            activated_at: record.activated_at,
            deactivated_at: record.deactivated_at,
            verify_until: record.verify_until,
            reason: record.reason.clone(),
        }
    }
}

impl RotationView {
    fn new(key: &Key) -> Self {
        let record = &key.record;
        let by_interval = record.rotation.cron.is_none() && record.temporary.is_none();
        let grace = policy::grace(record).and_then(|grace| u64::try_from(grace.num_seconds()).ok());
        Self {
            every: by_interval
                .then(|| record.rotation.every.unwrap_or_else(|| policy::tier_period(record.tier))),
            cron: record.rotation.cron.clone(),
            lead: policy::lead(record.key_type, &record.rotation),
            grace: grace.map(HumanDuration::from_secs),
            earliest_activation: policy::earliest_activation(key),
        }
    }
}
