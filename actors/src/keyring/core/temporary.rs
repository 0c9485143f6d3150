//! Uses of temporary keys, counted one by one in the database.
//!
//! A use is counted on both sides: once the key has signed or encrypted as often as it may, its version only verifies and
//! decrypts; once that has happened as often too, it is destroyed. So a one-time key can carry one message from one hand to the
//! other, and no more.

use claviger_entity::{KeyName, VersionNumber};

use super::{Change, KeyState, Ring, RingError, Time, Use, draft::Draft};

pub(super) fn consume(
    ring: &Ring,
    name: &KeyName,
    version: VersionNumber,
    what: Use,
    now: Time,
) -> Result<Change, RingError> {
    const SPENT: RingError = RingError::StateConflict("the temporary key has been used as often as it may");
    let key = ring.key(name)?;
    let state = key.versions.get(&version).ok_or(RingError::VersionNotFound)?.state;
    let allowed = match what {
        Use::Produce => state.may_produce(),
        Use::Consume => state.may_consume(),
    };
    if !allowed {
        return Err(SPENT);
    }
    let mut draft = Draft::of(key, now);
    let temporary =
        draft.record().temporary.as_mut().ok_or(RingError::Unsupported("the key is not temporary"))?;
    if temporary.expires_at <= now {
        return Err(RingError::StateConflict("the temporary key has expired"));
    }
    let left = match what {
        Use::Produce => &mut temporary.produce_left,
        Use::Consume => &mut temporary.consume_left,
    };
    *left = left.checked_sub(1).ok_or(SPENT)?;
    if *left > 0 {
        draft.log("key.used", version, None, None)?;
        return draft.finish(version);
    }
    match what {
        Use::Produce => {
            draft.deactivate(version)?;
            draft.log("key.used", version, None, None)?;
        }
        Use::Consume => {
            draft.set_state(version, KeyState::Destroyed, Some("used up"))?;
            draft.log("key.destroyed", version, None, Some("used up"))?;
        }
    }
    draft.finish(version)
}
