//! Settings of a key, changed by an RFC 7396 merge patch.

use std::collections::BTreeMap;

use claviger_entity::{
    RotationPolicy, VersionNumber,
    domain::{claims::ClaimRules, object},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Change, Ring, RingError, Time, UpdateKey, create::validate, draft::Draft};

/// The members that may change.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Changeable {
    #[serde(default, deserialize_with = "object::only")]
    rotation: RotationPolicy,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "object::only")]
    claims: ClaimRules,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    deletion_allowed: bool,
    #[serde(default = "first")]
    min_decryption_version: VersionNumber,
}

const fn first() -> VersionNumber {
    VersionNumber::FIRST
}

/// The labels that a patch leaves behind, for whoever has to judge them beforehand.
///
/// # Errors
/// The patch does not fit.
pub fn labels_after(
    record: &super::KeyRecord,
    patch: &serde_json::Map<String, Value>,
) -> Result<BTreeMap<String, String>, RingError> {
    patched(record, patch).map(|changed| changed.labels)
}

pub(super) fn decide(ring: &Ring, update: &UpdateKey, now: Time) -> Result<Change, RingError> {
    let key = ring.key(&update.name)?;
    if update.if_match.is_some_and(|revision| revision != key.record.revision) {
        return Err(RingError::RevisionMismatch);
    }
    let mut draft = Draft::of(key, now);
    let record = draft.record();
    let changed = patched(record, &update.patch)?;
    if record.temporary.is_some() && (changed.rotation.every.is_some() || changed.rotation.cron.is_some()) {
        return Err(RingError::Invalid(
            "a temporary key does not rotate; leave rotation.every and rotation.cron out",
        ));
    }
    let newest_in_use = key.primary().map_or(key.record.latest_version, |primary| primary.version);
    if changed.min_decryption_version.number() == 0 || changed.min_decryption_version > newest_in_use {
        return Err(RingError::Invalid("min_decryption_version must be from 1 to the primary's version"));
    }
    record.rotation = changed.rotation;
    record.labels = changed.labels;
    // A revocation is remembered for as long as what was issued before may live. What nobody knows stays unknown.
    record.longest_ttl = record.longest_ttl().map(|longest| longest.max(changed.claims.max_ttl()));
    record.claims = changed.claims;
    record.description = changed.description;
    record.deletion_allowed = changed.deletion_allowed;
    record.min_decryption_version = changed.min_decryption_version;
    validate(record)?;
    let subject = newest_in_use;
    draft.log("key.updated", subject, None, None)?;
    draft.finish(subject)
}

fn patched(
    record: &super::KeyRecord,
    patch: &serde_json::Map<String, Value>,
) -> Result<Changeable, RingError> {
    const UNFIT: RingError = RingError::Invalid(
        "the patch may hold rotation, labels, claims, description, deletion_allowed and min_decryption_version, each of its type",
    );
    let current = Changeable {
        rotation: record.rotation.clone(),
        labels: record.labels.clone(),
        claims: record.claims.clone(),
        description: record.description.clone(),
        deletion_allowed: record.deletion_allowed,
        min_decryption_version: record.min_decryption_version,
    };
    if !names_what_there_is(patch) {
        return Err(UNFIT);
    }
    let mut value = serde_json::to_value(current).map_err(|_| UNFIT)?;
    merge(&mut value, &Value::Object(patch.clone()));
    serde_json::from_value(value).map_err(|_| UNFIT)
}

/// Members of a member that is an object; labels have any names.
const MEMBERS: [(&str, &[&str]); 2] = [
    ("rotation", &["every", "cron", "lead", "grace"]),
    ("claims", &["issuers", "audiences", "max_ttl", "required", "allow_missing_exp", "kid_fallback"]),
];

/// Null removes a member, so one that never was would go unnoticed.
fn names_what_there_is(patch: &serde_json::Map<String, Value>) -> bool {
    const PLAIN: [&str; 4] = ["labels", "description", "deletion_allowed", "min_decryption_version"];
    patch.iter().all(|(name, value)| {
        let members = MEMBERS.iter().find(|(known, _)| known == name).map(|(_, members)| members);
        match (members, value) {
            (Some(members), Value::Object(inner)) => {
                inner.keys().all(|name| members.contains(&name.as_str()))
            }
            (Some(_), _) => true,
            (None, _) => PLAIN.contains(&name.as_str()),
        }
    })
}

/// RFC 7396 §2. Depth is bounded by the parser of the request.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    if let Value::Object(target) = target {
        for (name, value) in patch {
            if value.is_null() {
                target.remove(name);
            } else {
                merge(target.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
    }
}
