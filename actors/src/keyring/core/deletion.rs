//! Scheduled deletion of a whole key, and its way back.

use claviger_entity::{HumanDuration, KeyName};

use super::{Change, Ring, RingError, Time, draft::Draft};

pub(super) fn schedule(
    ring: &Ring,
    name: &KeyName,
    after: HumanDuration,
    now: Time,
) -> Result<Change, RingError> {
    let key = ring.key(name)?;
    if !key.record.deletion_allowed {
        return Err(RingError::StateConflict("deletion_allowed is not set on this key; PATCH it first"));
    }
    if key.record.delete_at.is_some() {
        return Err(RingError::StateConflict("the key is scheduled for deletion already; restore it first"));
    }
    let at = now.checked_add_signed(after.to_delta()).ok_or(RingError::Invalid("after is too long"))?;
    let newest = key.record.latest_version;
    let mut draft = Draft::of(key, now);
    draft.record().delete_at = Some(at);
    let subject = draft.versions().keys().next_back().copied().unwrap_or(newest);
    draft.log("key.deletion_scheduled", subject, None, None)?;
    draft.finish(subject)
}

pub(super) fn restore(ring: &Ring, name: &KeyName, now: Time) -> Result<Change, RingError> {
    let key = ring.key(name)?;
    if key.record.delete_at.is_none() {
        return Err(RingError::StateConflict("the key is not scheduled for deletion"));
    }
    let mut draft = Draft::of(key, now);
    draft.record().delete_at = None;
    let subject = draft.versions().keys().next_back().copied().unwrap_or(key.record.latest_version);
    draft.log("key.restored", subject, None, None)?;
    draft.finish(subject)
}
