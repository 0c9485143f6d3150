//! Rotation: standby → active, active → deactivated, in one change.

use claviger_crypto::material::Material;

use super::{Change, KeyState, Ring, RingError, Rotate, Time, draft::Draft, policy};
use crate::keyring::record::Origin;

pub(super) fn decide(
    ring: &Ring,
    rotate: &Rotate,
    spare: Option<Box<Material>>,
    now: Time,
) -> Result<Change, RingError> {
    let key = ring.key(&rotate.name)?;
    if key.record.temporary.is_some() {
        return Err(RingError::Unsupported("a temporary key does not rotate"));
    }
    if key.record.delete_at.is_some() {
        return Err(RingError::StateConflict("the key is scheduled for deletion; restore it first"));
    }
    let primary = key.primary().map(|version| version.version);
    if rotate.expected.is_some() && rotate.expected != primary {
        return Err(RingError::StateConflict("another rotation came first"));
    }
    if rotate.force && rotate.reason.as_deref().is_none_or(|reason| reason.trim().is_empty()) {
        return Err(RingError::Invalid("force needs a reason"));
    }
    if !rotate.force {
        // A key without a standby gets one within moments; its lead counts from then.
        let earliest = match policy::earliest_activation(key) {
            Some(earliest) => earliest,
            None => now + policy::lead(key.record.key_type, &key.record.rotation).to_delta(),
        };
        if now < earliest {
            return Err(RingError::StandbyTooYoung { earliest });
        }
    }
    let mut draft = Draft::of(key, now);
    let mut spare = spare;
    let standby = match draft.in_state(KeyState::PreActivation) {
        Some(standby) => standby,
        None => draft.publish(*spare.take().ok_or(NO_STANDBY)?, Origin::Generated),
    };
    let previous = draft.activate(standby)?;
    if let Some(spare) = spare {
        draft.publish(*spare, Origin::Generated);
    }
    draft.log("key.rotated", standby, previous, rotate.reason.as_deref())?;
    draft.finish(standby)
}

pub(super) const NO_STANDBY: RingError =
    RingError::StateConflict("the key has no standby yet; try again in a moment");
