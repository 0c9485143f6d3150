//! What a key is to be, as callers write it; shared by creation and import.

use std::collections::BTreeMap;

use claviger_actors::keyring::core::CreateKey;
use claviger_entity::{
    KeyName, KeyType, RotationPolicy, Tier, Usage,
    domain::{claims::ClaimRules, temporary::TemporaryPolicy},
};
use serde::Deserialize;
use uuid::Uuid;

/// A key to create.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    name: KeyName,
    #[serde(rename = "type")]
    pub(super) key_type: KeyType,
    #[serde(default)]
    usage: Option<Usage>,
    /// RSA modulus length: 2048, 3072 or 4096.
    #[serde(default)]
    bits: Option<u32>,
    #[serde(default)]
    tier: Option<Tier>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    rotation: Option<RotationPolicy>,
    #[serde(default)]
    claims: Option<ClaimRules>,
    #[serde(default)]
    temporary: Option<TemporaryPolicy>,
    #[serde(default)]
    exportable: Option<bool>,
    #[serde(default)]
    deletion_allowed: Option<bool>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

impl From<NewKey> for CreateKey {
    fn from(new: NewKey) -> Self {
        Self {
            id: Uuid::now_v7(),
            name: new.name,
            key_type: new.key_type,
            usage: new.usage,
            bits: new.bits,
            tier: new.tier,
            description: new.description,
            rotation: new.rotation.unwrap_or_default(),
            claims: new.claims.unwrap_or_default(),
            temporary: new.temporary,
            exportable: new.exportable.unwrap_or_default(),
            deletion_allowed: new.deletion_allowed.unwrap_or_default(),
            labels: new.labels.unwrap_or_default(),
        }
    }
}
