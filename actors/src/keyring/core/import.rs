//! Keys from material of elsewhere.

use super::{Change, ImportKey, KeyState, Ring, RingError, Time, create::new_record, draft::Draft};
use crate::keyring::record::Origin;

pub(super) fn decide(ring: &Ring, spec: ImportKey, now: Time) -> Result<Change, RingError> {
    if spec.key.temporary.is_some() || spec.key.tier == Some(claviger_entity::Tier::Temporary) {
        return Err(RingError::Invalid("a temporary key can't be imported"));
    }
    let mut draft = Draft::new_key(new_record(ring, spec.key, now)?, now);
    let mut spares = spec.spares.into_iter();
    let imported = draft.publish(spec.imported.material, Origin::Imported);
    draft.version(imported)?.alias_hash = spec.imported.alias_hash;
    let primary = if spec.imported.may_produce {
        imported
    } else {
        // Too weak to sign: what it made still verifies, without end, until an operator ends it.
        draft.set_state(imported, KeyState::Deactivated, Some("imported for verification only"))?;
        let spare = spares.next().ok_or(RingError::Invalid("a key needs material"))?;
        draft.publish(spare, Origin::Generated)
    };
    draft.activate(primary)?;
    if let Some(spare) = spares.next() {
        draft.publish(spare, Origin::Generated);
    }
    draft.log("key.created", primary, None, Some("imported"))?;
    draft.finish(primary)
}
