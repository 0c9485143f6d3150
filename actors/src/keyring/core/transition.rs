//! What an operator does to one version: suspend, resume, compromise, destroy.

use claviger_crypto::material::Material;
use claviger_entity::VersionNumber;

use super::{Change, Exposure, KeyState, Ring, RingError, Time, Transition, TransitionKind, draft::Draft};
use crate::keyring::record::Origin;

pub(super) fn decide(
    ring: &Ring,
    transition: &Transition,
    spares: Vec<Material>,
    now: Time,
) -> Result<Change, RingError> {
    if transition.reason.trim().is_empty() {
        return Err(RingError::Invalid("reason must say why"));
    }
    let key = ring.key(&transition.name)?;
    let state = key.versions.get(&transition.version).ok_or(RingError::VersionNotFound)?.state;
    let target = target(state, transition.kind)?;
    let mut draft = Draft::of(key, now);
    let mut spares = spares.into_iter();
    let (version, reason) = (transition.version, Some(transition.reason.as_str()));
    let may_have_standby = key.record.temporary.is_none() && key.record.delete_at.is_none();

    match transition.kind {
        TransitionKind::Resume => {
            draft.deactivate(version)?;
            draft.log("key.resumed", version, None, reason)?;
        }
        TransitionKind::Destroy => {
            draft.set_state(version, target, reason)?;
            draft.log("key.destroyed", version, None, reason)?;
        }
        TransitionKind::Suspend => {
            draft.set_state(version, target, reason)?;
            draft.log("key.suspended", version, None, reason)?;
            if may_have_standby {
                replace(&mut draft, state, version, &mut spares, reason)?;
            }
        }
        TransitionKind::Compromise(exposure) => {
            draft.set_state(version, target, reason)?;
            draft.log("key.compromised", version, None, reason)?;
            if exposure == Exposure::Store {
                expose_standby(&mut draft, reason)?;
            }
            if may_have_standby {
                replace(&mut draft, state, version, &mut spares, reason)?;
            }
        }
    }
    draft.finish(version)
}

/// The state that a version in `state` would reach.
fn target(state: KeyState, kind: TransitionKind) -> Result<KeyState, RingError> {
    let conflict = |sentence| Err(RingError::StateConflict(sentence));
    match (kind, state) {
        (TransitionKind::Suspend, KeyState::PreActivation | KeyState::Active | KeyState::Deactivated) => {
            Ok(KeyState::Suspended)
        }
        (TransitionKind::Suspend, _) => {
            conflict("only a standby, active or deactivated version can be suspended")
        }
        (TransitionKind::Resume, KeyState::Suspended) => Ok(KeyState::Deactivated),
        (TransitionKind::Resume, _) => conflict("only a suspended version can be resumed"),
        (
            TransitionKind::Compromise(_),
            KeyState::PreActivation | KeyState::Active | KeyState::Deactivated | KeyState::Suspended,
        ) => Ok(KeyState::Compromised),
        (TransitionKind::Compromise(_), KeyState::Compromised) => {
            conflict("the version is compromised already")
        }
        (TransitionKind::Compromise(_), KeyState::Retired | KeyState::Destroyed) => {
            conflict("the version's material is erased")
        }
        (TransitionKind::Destroy, KeyState::Active) => {
            conflict("the primary can't be destroyed; rotate first")
        }
        (TransitionKind::Destroy, KeyState::PreActivation) => {
            conflict("the standby can't be destroyed; compromise or suspend it")
        }
        (TransitionKind::Destroy, KeyState::Destroyed) => conflict("the version is destroyed already"),
        (
            TransitionKind::Destroy,
            KeyState::Deactivated | KeyState::Retired | KeyState::Suspended | KeyState::Compromised,
        ) => Ok(KeyState::Destroyed),
    }
}

/// The whole store leaked, so whoever has the primary has the standby too.
fn expose_standby(draft: &mut Draft, reason: Option<&str>) -> Result<(), RingError> {
    if let Some(standby) = draft.in_state(KeyState::PreActivation) {
        draft.set_state(standby, KeyState::Compromised, reason)?;
        draft.log("key.compromised", standby, None, reason)?;
    }
    Ok(())
}

/// Puts the standby in the place of a primary that is gone, and a spare in the place of the standby. Compromise never waits for
/// the lead.
fn replace(
    draft: &mut Draft,
    was: KeyState,
    gone: VersionNumber,
    spares: &mut impl Iterator<Item = Material>,
    reason: Option<&str>,
) -> Result<(), RingError> {
    if was == KeyState::Active {
        let standby = match draft.in_state(KeyState::PreActivation) {
            Some(standby) => Some(standby),
            None => spares.next().map(|spare| draft.publish(spare, Origin::Generated)),
        };
        if let Some(standby) = standby {
            draft.activate(standby)?;
            draft.log("key.rotated", standby, Some(gone), reason)?;
        }
    }
    if draft.in_state(KeyState::PreActivation).is_none()
        && let Some(spare) = spares.next()
    {
        draft.publish(spare, Origin::Generated);
    }
    Ok(())
}
