//! The ring as plain data: what the database holds, what the core decides on and what a snapshot is made of.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};
use claviger_entity::{
    HumanDuration, KeyName, KeyState, KeyType, Kid, RotationPolicy, Tier, Usage, VersionNumber,
    domain::{claims::ClaimRules, temporary::TemporaryPolicy},
};
use uuid::Uuid;

/// Point in time; the resolution kept is one millisecond.
pub type Time = DateTime<Utc>;

/// Everything about a key but its versions.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyRecord {
    /// Identity that survives any rename; part of what material is bound to.
    pub id: Uuid,
    /// Unique in the deployment.
    pub name: KeyName,
    /// Type, fixed at creation.
    pub key_type: KeyType,
    /// RSA modulus length; absent for other types.
    pub bits: Option<u32>,
    /// Usage, fixed at creation.
    pub usage: Usage,
    /// Cryptoperiod class.
    pub tier: Tier,
    /// Free text.
    pub description: Option<String>,
    /// As the caller wrote it; see [`super::policy`] for what is in force.
    pub rotation: RotationPolicy,
    /// Rules for tokens.
    pub claims: ClaimRules,
    /// Set on keys that end by themselves.
    pub temporary: Option<TemporaryState>,
    /// Material may leave, sealed to a recipient.
    pub exportable: bool,
    /// Deletion may be scheduled.
    pub deletion_allowed: bool,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// Versions below do not decrypt or verify.
    pub min_decryption_version: VersionNumber,
    /// When it was created.
    pub created_at: Time,
    /// When anything about it last changed.
    pub updated_at: Time,
    /// Set while its destruction is scheduled.
    pub delete_at: Option<Time>,
    /// Set once it was destroyed; the row stays so that no name or `kid` comes back.
    pub deleted_at: Option<Time>,
    /// Grows by one with each change; the `ETag`.
    pub revision: u64,
    /// Number of the newest version, so that a missing row is noticed.
    pub latest_version: VersionNumber,
    /// The longest lifetime that its tokens may have had up to now; absent on keys of a release that did not take it down.
    pub longest_ttl: Option<HumanDuration>,
}

impl KeyRecord {
    /// The longest lifetime that any of its tokens may have; `None` when nobody knows, since a release that took nothing down may have lowered it.
    #[must_use]
    pub fn longest_ttl(&self) -> Option<HumanDuration> {
        match self.longest_ttl {
            Some(longest) => Some(longest.max(self.claims.max_ttl())),
            None => (self.revision <= 1).then(|| self.claims.max_ttl()),
        }
    }
}

/// A temporary key's policy and what is left of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TemporaryState {
    /// The policy it was created with.
    pub policy: TemporaryPolicy,
    /// When it ends at the latest.
    pub expires_at: Time,
    /// How often it may still sign or encrypt.
    pub produce_left: u32,
    /// How often it may still verify or decrypt.
    pub consume_left: u32,
}

/// Where material came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Made here.
    Generated,
    /// Brought from elsewhere: tokens without `iss` are accepted under it.
    Imported,
}

impl Origin {
    /// Text form in rows and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Generated => "generated",
            Self::Imported => "imported",
        }
    }
}

/// One generation of key material.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRecord {
    /// Number within the key.
    pub version: VersionNumber,
    /// Identifier, unique in the deployment for ever.
    pub kid: Kid,
    /// State.
    pub state: KeyState,
    /// Where the material came from.
    pub origin: Origin,
    /// When it was published (became readable on every node); the lead counts from here.
    pub created_at: Time,
    /// When it began to sign or encrypt.
    pub activated_at: Option<Time>,
    /// When it stopped to.
    pub deactivated_at: Option<Time>,
    /// Until when what it made verifies; fixed at deactivation, never shortened. Absent = without end.
    pub verify_until: Option<Time>,
    /// When its last change of state happened.
    pub changed_at: Time,
    /// Why, in the words of whoever changed it.
    pub reason: Option<String>,
    /// Keyed hash of the identifier that replaced systems used for it.
    pub alias_hash: Option<[u8; 32]>,
    /// Public half as SPKI DER.
    pub public_spki: Option<Arc<[u8]>>,
    /// Sealed material; absent once erased.
    pub sealed: Option<Arc<[u8]>>,
    /// The data-encryption key that seals it.
    pub dek_id: Uuid,
}

/// A key with its versions, by number.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// The key itself.
    pub record: KeyRecord,
    /// Versions by number; quarantined ones are absent here.
    pub versions: BTreeMap<VersionNumber, VersionRecord>,
}

/// A row that does not carry a valid MAC or cannot be read: named, left alone, not used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quarantined {
    /// Name of the key as far as known.
    pub key: String,
    /// The version, or absent when it is the key's own row.
    pub version: Option<u32>,
    /// What is wrong, in a few words.
    pub finding: &'static str,
}

impl Key {
    /// The primary, while there is one.
    #[must_use]
    pub fn primary(&self) -> Option<&VersionRecord> {
        self.versions.values().rev().find(|version| version.state == KeyState::Active)
    }

    /// The standby, while there is one.
    #[must_use]
    pub fn standby(&self) -> Option<&VersionRecord> {
        self.versions.values().rev().find(|version| version.state == KeyState::PreActivation)
    }
}
