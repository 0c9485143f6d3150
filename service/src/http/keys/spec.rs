//! What a key is to be, as callers write it; shared by creation and import.

use std::collections::BTreeMap;

use claviger_actors::keyring::core::CreateKey;
use claviger_entity::{
    KeyName, KeyType, RotationPolicy, Tier, Usage,
    domain::{claims::ClaimRules, object, temporary::TemporaryPolicy},
};
use claviger_policy::{KeyFacts, Permission};
use serde::Deserialize;
use utoipa::openapi::Object;
use uuid::Uuid;

use crate::http::{
    authority,
    openapi::schemas::one_of_or_null,
    problem::Problem,
    state::{AppState, Caller},
};

/// A key to create.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    name: KeyName,
    #[serde(rename = "type")]
    pub(super) key_type: KeyType,
    #[serde(default)]
    usage: Option<Usage>,
    /// RSA modulus length; 2048 unless given.
    #[serde(default)]
    #[schema(schema_with = rsa_bits)]
    bits: Option<u32>,
    #[serde(default)]
    tier: Option<Tier>,
    #[serde(default)]
    #[schema(max_length = 1024)]
    description: Option<String>,
    #[serde(default, deserialize_with = "object::optional")]
    rotation: Option<RotationPolicy>,
    #[serde(default, deserialize_with = "object::optional")]
    claims: Option<ClaimRules>,
    #[serde(default, deserialize_with = "object::optional")]
    temporary: Option<TemporaryPolicy>,
    #[serde(default)]
    exportable: Option<bool>,
    #[serde(default)]
    deletion_allowed: Option<bool>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

fn rsa_bits() -> Object {
    one_of_or_null(&[2_048, 3_072, 4_096])
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

/// The caller may make such a key.
///
/// # Errors
/// `forbidden`.
pub(super) fn authorize(
    state: &AppState,
    caller: &Caller,
    permission: Permission,
    spec: &CreateKey,
) -> Result<(), Problem> {
    let tier = if spec.temporary.is_some() { Some(Tier::Temporary) } else { spec.tier };
    let facts = KeyFacts {
        name: &spec.name,
        key_type: spec.key_type,
        usage: spec.usage.unwrap_or_else(|| spec.key_type.default_usage()),
        tier: tier.unwrap_or_else(|| spec.key_type.default_tier()),
        labels: &spec.labels,
    };
    authority::on_new_key(state, &state.ring.snapshot(), caller, permission, facts)
}
