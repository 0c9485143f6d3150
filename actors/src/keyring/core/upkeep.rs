//! What time does to a key. Each of these does nothing twice: asked again, it finds nothing to do and says so.

use claviger_crypto::material::Material;
use claviger_entity::{KeyName, VersionNumber};

use super::{Change, KeyState, Ring, RingError, Time, draft::Draft};
use crate::keyring::{
    internal,
    record::{Key, Origin},
};

const NOTHING_DUE: RingError = RingError::StateConflict("nothing is due");

/// The key lacks a standby and is one that has them.
pub(crate) fn lacks_standby(key: &Key) -> bool {
    let record = &key.record;
    record.temporary.is_none()
        && record.delete_at.is_none()
        && record.deleted_at.is_none()
        && !internal::is_fixed(&record.name, record.key_type)
        && key.standby().is_none()
}

/// When the key's life ends, if it does.
pub(crate) fn end_of_life_at(key: &Key) -> Option<Time> {
    let record = &key.record;
    if record.deleted_at.is_some() {
        return None;
    }
    let alive = key.versions.values().any(|version| !version.state.is_erased());
    let expires_at = record.temporary.as_ref().filter(|_| alive).map(|temporary| temporary.expires_at);
    match (record.delete_at, expires_at) {
        (Some(deletion), Some(expiry)) => Some(deletion.min(expiry)),
        (deletion, expiry) => deletion.or(expiry),
    }
}

/// When the next version's grace is over.
pub(crate) fn next_retirement_at(key: &Key) -> Option<Time> {
    key.versions
        .values()
        .filter(|version| version.state == KeyState::Deactivated)
        .filter_map(|version| version.verify_until)
        .min()
}

pub(super) fn replenish(
    ring: &Ring,
    name: &KeyName,
    spare: Material,
    now: Time,
) -> Result<Change, RingError> {
    let key = ring.key(name)?;
    if !lacks_standby(key) {
        return Err(NOTHING_DUE);
    }
    let mut draft = Draft::of(key, now);
    let standby = draft.publish(spare, Origin::Generated);
    draft.log("key.standby_published", standby, None, None)?;
    draft.finish(standby)
}

pub(super) fn retire(ring: &Ring, name: &KeyName, now: Time) -> Result<Change, RingError> {
    let key = ring.key(name)?;
    let over = |version: &&super::VersionRecord| {
        version.state == KeyState::Deactivated && version.verify_until.is_some_and(|until| until <= now)
    };
    let due: Vec<VersionNumber> = key.versions.values().filter(over).map(|version| version.version).collect();
    let subject = *due.first().ok_or(NOTHING_DUE)?;
    let mut draft = Draft::of(key, now);
    for version in due {
        draft.set_state(version, KeyState::Retired, None)?;
        draft.log("key.retired", version, None, None)?;
    }
    draft.finish(subject)
}

pub(super) fn end_of_life(ring: &Ring, name: &KeyName, now: Time) -> Result<Change, RingError> {
    let key = ring.key(name)?;
    if end_of_life_at(key).is_none_or(|at| at > now) {
        return Err(NOTHING_DUE);
    }
    let deletion = key.record.delete_at.is_some_and(|at| at <= now);
    let reason = if deletion { "scheduled deletion" } else { "end of a temporary key" };
    let mut draft = Draft::of(key, now);
    let due: Vec<VersionNumber> = key
        .versions
        .values()
        .filter(|version| version.state != KeyState::Destroyed)
        .map(|version| version.version)
        .collect();
    for version in due {
        draft.set_state(version, KeyState::Destroyed, Some(reason))?;
        draft.log("key.destroyed", version, None, Some(reason))?;
    }
    if deletion {
        draft.record().deleted_at = Some(now);
    }
    let subject = draft.versions().keys().next_back().copied().unwrap_or(key.record.latest_version);
    draft.finish(subject)
}
