//! Commands to the ring, one struct each. Material is made before a command is sent, so that no key is generated while the one
//! writer works.

use std::collections::BTreeMap;

use claviger_crypto::material::Material;
use claviger_entity::{
    HumanDuration, KeyName, KeyType, RotationPolicy, Tier, Usage, VersionNumber,
    domain::{claims::ClaimRules, temporary::TemporaryPolicy},
};
use uuid::Uuid;

/// Everything that can happen to the ring.
pub enum Command {
    /// A new key, with material for its primary and its standby.
    Create(Box<CreateKey>, Vec<Material>),
    /// A new key from material of elsewhere.
    Import(Box<ImportKey>),
    /// Merge patch of the changeable members.
    Update(UpdateKey),
    /// Standby becomes primary. The spare becomes the next standby, when there is one.
    Rotate(Rotate, Option<Box<Material>>),
    /// Suspend, resume, compromise or destroy one version. Spares become primary and standby as needed.
    Transition(Transition, Vec<Material>),
    /// Schedule the destruction of a whole key.
    ScheduleDeletion {
        /// The key.
        name: KeyName,
        /// Waiting period.
        after: HumanDuration,
    },
    /// Cancel a scheduled destruction.
    Restore {
        /// The key.
        name: KeyName,
    },
    /// Give a key the standby that it lacks.
    Replenish {
        /// The key.
        name: KeyName,
        /// Material of the standby.
        spare: Box<Material>,
    },
    /// Erase versions whose grace is over.
    Retire {
        /// The key.
        name: KeyName,
    },
    /// Destroy a key whose waiting period or life is over.
    EndOfLife {
        /// The key.
        name: KeyName,
    },
    /// Count one use of a temporary key.
    Consume {
        /// The key.
        name: KeyName,
        /// The version that was used.
        version: VersionNumber,
        /// What it was used for.
        what: Use,
    },
}

/// What a temporary key was used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Signed or encrypted.
    Produce,
    /// Verified or decrypted.
    Consume,
}

/// What a key is to be. Absent members take their defaults.
#[derive(Debug, Clone)]
pub struct CreateKey {
    /// Identity, drawn by the shell.
    pub id: Uuid,
    /// Name.
    pub name: KeyName,
    /// Type.
    pub key_type: KeyType,
    /// Usage.
    pub usage: Option<Usage>,
    /// RSA modulus length.
    pub bits: Option<u32>,
    /// Cryptoperiod class.
    pub tier: Option<Tier>,
    /// Free text.
    pub description: Option<String>,
    /// Rotation policy.
    pub rotation: RotationPolicy,
    /// Rules for tokens.
    pub claims: ClaimRules,
    /// Ends by itself.
    pub temporary: Option<TemporaryPolicy>,
    /// Material may leave.
    pub exportable: bool,
    /// Deletion may be scheduled.
    pub deletion_allowed: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// A key from material of elsewhere.
pub struct ImportKey {
    /// What the key is to be.
    pub key: CreateKey,
    /// The imported material: version 1.
    pub imported: Imported,
    /// Generated material: the primary when the imported one may not sign, then the standby.
    pub spares: Vec<Material>,
}

/// Material from elsewhere.
pub struct Imported {
    /// The material.
    pub material: Material,
    /// It is strong enough to sign and encrypt; otherwise it only verifies and decrypts.
    pub may_produce: bool,
    /// Keyed hash of the id that a replaced system used for it.
    pub alias_hash: Option<[u8; 32]>,
}

/// Change of a key's settings.
#[derive(Debug, Clone)]
pub struct UpdateKey {
    /// The key.
    pub name: KeyName,
    /// RFC 7396 merge patch.
    pub patch: serde_json::Map<String, serde_json::Value>,
    /// Revision that the caller saw.
    pub if_match: Option<u64>,
}

/// Replacement of the primary.
#[derive(Debug, Clone)]
pub struct Rotate {
    /// The key.
    pub name: KeyName,
    /// Do not wait for the lead.
    pub force: bool,
    /// Why.
    pub reason: Option<String>,
    /// Only while this is the primary: how a due rotation happens once, however many try.
    pub expected: Option<VersionNumber>,
}

/// Change of one version's state.
#[derive(Debug, Clone)]
pub struct Transition {
    /// The key.
    pub name: KeyName,
    /// The version.
    pub version: VersionNumber,
    /// Which change.
    pub kind: TransitionKind,
    /// Why.
    pub reason: String,
}

/// Changes of state that an operator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransitionKind {
    /// Stop using it for now.
    Suspend,
    /// Let it verify and decrypt again.
    Resume,
    /// It is in other hands.
    Compromise(Exposure),
    /// Erase its material.
    Destroy,
}

/// What leaked.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Exposure {
    /// This version alone.
    #[default]
    Version,
    /// The whole store, so the standby too.
    Store,
}
