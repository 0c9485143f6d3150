//! New keys.

use claviger_crypto::material::Material;
use claviger_entity::{HumanDuration, KeyType, Tier, domain::temporary::TemporaryPolicy};

use super::{Change, CreateKey, KeyRecord, Ring, RingError, Time, VersionNumber, draft::Draft, policy};
use crate::keyring::record::{Origin, TemporaryState};

/// A path segment beside the names of keys.
const RESERVED: &str = "import";
const DESCRIPTION_MAX_BYTES: usize = 1_024;
const LABELS_MAX: usize = 64;
const LABEL_MAX_BYTES: usize = 255;
const CLAIM_LIST_MAX: usize = 64;
const CLAIM_TEXT_MAX_BYTES: usize = 1_024;

pub(super) fn decide(
    ring: &Ring,
    spec: CreateKey,
    materials: Vec<Material>,
    now: Time,
) -> Result<Change, RingError> {
    let temporary = spec.temporary.is_some() || spec.tier == Some(Tier::Temporary);
    let mut draft = Draft::new_key(new_record(ring, spec, now)?, now);
    let mut materials = materials.into_iter();
    let first = materials.next().ok_or(RingError::Invalid("a key needs material"))?;
    let primary = draft.publish(first, Origin::Generated);
    draft.activate(primary)?;
    if let (false, Some(spare)) = (temporary, materials.next()) {
        draft.publish(spare, Origin::Generated);
    }
    draft.log("key.created", primary, None, None)?;
    draft.finish(primary)
}

/// Checks what a caller asked for and fills in the defaults.
pub(super) fn new_record(ring: &Ring, spec: CreateKey, now: Time) -> Result<KeyRecord, RingError> {
    if ring.is_taken(&spec.name) {
        return Err(RingError::KeyExists);
    }
    if spec.name.as_str() == RESERVED {
        return Err(RingError::Invalid("the name import is reserved"));
    }
    let usage = spec.usage.unwrap_or_else(|| spec.key_type.default_usage());
    if !spec.key_type.allows(usage) {
        return Err(RingError::Invalid("usage does not fit the type of the key"));
    }
    let temporary = temporary_state(&spec, now)?;
    let tier = match (&temporary, spec.tier) {
        (Some(_), _) => Tier::Temporary,
        (None, tier) => tier.unwrap_or_else(|| spec.key_type.default_tier()),
    };
    let longest_ttl = Some(spec.claims.max_ttl());
    let record = KeyRecord {
        id: spec.id,
        name: spec.name,
        key_type: spec.key_type,
        bits: bits(spec.key_type, spec.bits)?,
        usage,
        tier,
        description: spec.description,
        rotation: spec.rotation,
        claims: spec.claims,
        temporary,
        exportable: spec.exportable,
        deletion_allowed: spec.deletion_allowed,
        labels: spec.labels,
        min_decryption_version: VersionNumber::FIRST,
        created_at: now,
        updated_at: now,
        delete_at: None,
        deleted_at: None,
        revision: 1,
        latest_version: VersionNumber::FIRST,
        longest_ttl,
    };
    validate(&record)?;
    Ok(record)
}

/// The rules that hold for a key whenever it is written.
pub(super) fn validate(record: &KeyRecord) -> Result<(), RingError> {
    policy::validate(record.key_type, &record.rotation).map_err(RingError::Invalid)?;
    if record.description.as_ref().is_some_and(|text| text.len() > DESCRIPTION_MAX_BYTES) {
        return Err(RingError::Invalid("description must be at most 1024 bytes"));
    }
    let label_fits = |text: &String| {
        !text.is_empty() && text.len() <= LABEL_MAX_BYTES && !text.chars().any(char::is_control)
    };
    if record.labels.len() > LABELS_MAX
        || !record
            .labels
            .iter()
            .all(|(name, value)| label_fits(name) && (value.is_empty() || label_fits(value)))
    {
        return Err(RingError::Invalid(
            "labels must be at most 64, each name and value at most 255 bytes without control characters",
        ));
    }
    let claims = &record.claims;
    let lists = [&claims.issuers, &claims.audiences, &claims.required];
    let fits = |list: &&Vec<String>| {
        list.len() <= CLAIM_LIST_MAX
            && list.iter().all(|text| !text.is_empty() && text.len() <= CLAIM_TEXT_MAX_BYTES)
    };
    if !lists.iter().all(fits) {
        return Err(RingError::Invalid(
            "claims.issuers, audiences and required take at most 64 texts of 1 to 1024 bytes each",
        ));
    }
    if claims.max_ttl.is_some_and(|ttl| ttl == HumanDuration::from_secs(0)) {
        return Err(RingError::Invalid("claims.max_ttl must be at least one second"));
    }
    Ok(())
}

fn bits(key_type: KeyType, bits: Option<u32>) -> Result<Option<u32>, RingError> {
    match (key_type.is_rsa(), bits) {
        (true, None) => Ok(Some(2_048)),
        (true, Some(2_048 | 3_072 | 4_096)) => Ok(bits),
        (true, Some(_)) => Err(RingError::Invalid("bits must be 2048, 3072 or 4096")),
        (false, None) => Ok(None),
        (false, Some(_)) => Err(RingError::Invalid("bits is for RSA keys only")),
    }
}

fn temporary_state(spec: &CreateKey, now: Time) -> Result<Option<TemporaryState>, RingError> {
    let policy = match (&spec.temporary, spec.tier) {
        (None, Some(Tier::Temporary)) => TemporaryPolicy::default(),
        (None, _) => return Ok(None),
        (Some(_), Some(Tier::Master | Tier::Signing | Tier::Data | Tier::Session)) => {
            return Err(RingError::Invalid("a key with temporary is of tier temporary"));
        }
        (Some(policy), _) => policy.clone(),
    };
    if spec.rotation.every.is_some() || spec.rotation.cron.is_some() {
        return Err(RingError::Invalid(
            "a temporary key does not rotate; leave rotation.every and rotation.cron out",
        ));
    }
    if policy.uses == 0 || policy.uses > 1_000_000 {
        return Err(RingError::Invalid("temporary.uses must be from 1 to 1000000"));
    }
    if policy.session.as_ref().is_some_and(|text| text.is_empty() || text.len() > 255) {
        return Err(RingError::Invalid("temporary.session must be 1 to 255 bytes"));
    }
    let life = policy.expires_in.unwrap_or_else(|| policy::tier_period(Tier::Temporary));
    if life == HumanDuration::from_secs(0) {
        return Err(RingError::Invalid("temporary.expires_in must be at least one second"));
    }
    let expires_at = now
        .checked_add_signed(life.to_delta())
        .ok_or(RingError::Invalid("temporary.expires_in is too long"))?;
    Ok(Some(TemporaryState { produce_left: policy.uses, consume_left: policy.uses, policy, expires_at }))
}
