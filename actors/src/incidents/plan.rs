//! From a target to a playbook, on a snapshot. Pure.

use claviger_entity::{KeyName, KeyState, Usage};

use super::{
    Bar, IncidentError, Principal, Target,
    core::{Playbook, Step},
};
use crate::keyring::{
    Snapshot,
    core::Exposure,
    record::{Key, Time, VersionRecord},
};

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// What is in other hands.
    pub target: Target,
    /// Since when it may have been; `None` = since the primary of a key is one, or for ever.
    pub since: Option<Time>,
    /// What leaked of a key.
    pub exposure: Exposure,
}

/// Makes a playbook, and says what is shut out. `own_issuer` is the `iss` of our own tokens.
///
/// # Errors
/// There is no such thing.
pub fn plan(
    snapshot: &Snapshot,
    asked: &Asked,
    own_issuer: &str,
) -> Result<(Playbook, Vec<Bar>), IncidentError> {
    match &asked.target {
        Target::Key(name) => {
            let key = snapshot.key(name).map_err(|_| IncidentError::NoTarget("there is no such key"))?;
            Ok((of_keys(&[key.as_ref()], asked), Vec::new()))
        }
        Target::Principal(text) => of_principal(snapshot, text),
        Target::Issuer(issuer) if issuer == own_issuer => {
            let keys: Vec<&Key> = living(snapshot).filter(|key| key.record.usage == Usage::Token).collect();
            Ok((of_keys(&keys, asked), Vec::new()))
        }
        Target::Issuer(issuer) => {
            let playbook = Playbook::new(Vec::new(), Vec::new());
            Ok((playbook, vec![Bar::Issuer(issuer.clone())]))
        }
        Target::Node(name) => {
            let playbook = Playbook::new(Vec::new(), vec![Step::ClusterKey]);
            Ok((playbook, vec![Bar::Node(name.clone())]))
        }
        Target::All(false) => Err(IncidentError::Invalid("all must be true")),
        Target::All(true) => {
            let keys: Vec<&Key> = living(snapshot).collect();
            let asked = Asked { exposure: Exposure::Store, ..asked.clone() };
            Ok((of_keys(&keys, &asked), Vec::new()))
        }
    }
}

/// Keys of callers. Our own are left alone: what they have hashed or signed can't be hashed or signed anew.
fn living(snapshot: &Snapshot) -> impl Iterator<Item = &Key> {
    let keys = snapshot.ring().keys().map(AsRef::as_ref);
    keys.filter(|key: &&Key| key.record.deleted_at.is_none() && !key.record.name.is_internal())
}

fn of_principal(snapshot: &Snapshot, text: &str) -> Result<(Playbook, Vec<Bar>), IncidentError> {
    let dependents = || Step::RevokeDependents { principal: text.to_owned() };
    match Principal::of(text) {
        Principal::ApiKey(api_key) => {
            if snapshot.access().api_key(api_key).is_none() {
                return Err(IncidentError::NoTarget("there is no such API key"));
            }
            Ok((Playbook::new(vec![Step::DeleteApiKey { api_key }], vec![dependents()]), Vec::new()))
        }
        Principal::Device(device) => {
            if snapshot.devices().find(&device).is_none() {
                return Err(IncidentError::NoTarget("there is no such device"));
            }
            Ok((Playbook::new(vec![Step::RemoveDevice { device }], vec![dependents()]), Vec::new()))
        }
        Principal::Subject(subject) => {
            let isolating = vec![Step::RevokeSubject { subject: subject.clone() }];
            Ok((Playbook::new(isolating, Vec::new()), vec![Bar::Subject(subject)]))
        }
    }
}

fn of_keys(keys: &[&Key], asked: &Asked) -> Playbook {
    let (mut isolating, mut following) = (Vec::new(), Vec::new());
    for key in keys {
        let name = &key.record.name;
        let versions: Vec<&VersionRecord> = affected(key, asked).collect();
        for version in &versions {
            let (key, version, state) = (name.clone(), version.version, version.state);
            // Whoever has the store has the standby too, so it must not become the primary first. And what is stored would be unreadable
            // while its version is suspended; a compromised one opens what is moved away from it.
            if asked.exposure == Exposure::Store || *name == KeyName::stores() {
                let exposure = if state == KeyState::Active { asked.exposure } else { Exposure::Version };
                isolating.push(Step::Compromise { key, version, exposure });
            } else {
                isolating.push(Step::Suspend { key: key.clone(), version });
                following.push(Step::Compromise { key, version, exposure: Exposure::Version });
            }
        }
        let rotates = key.record.temporary.is_none() && key.record.delete_at.is_none();
        if rotates {
            following.push(Step::Promote { key: name.clone() });
        }
        let kids = || versions.iter().map(|version| version.kid.clone());
        if key.record.usage == Usage::Token {
            following.extend(kids().map(|kid| Step::RevokeVersion { key: name.clone(), kid }));
            following.push(Step::RevokeFamilies { key: name.clone() });
        }
        if *name == KeyName::stores() {
            following.extend(kids().map(|kid| Step::Rewrap { kid }));
        }
    }
    Playbook::new(isolating, following)
}

/// Versions that whoever has had the key since then may have: the primary, and those that were it since.
pub(super) fn affected<'a>(key: &'a Key, asked: &'a Asked) -> impl Iterator<Item = &'a VersionRecord> {
    let is_affected = move |version: &&VersionRecord| match version.state {
        KeyState::Active => true,
        KeyState::Deactivated | KeyState::Suspended => {
            let ended_since =
                asked.since.is_some_and(|since| version.deactivated_at.is_none_or(|ended| ended >= since));
            asked.exposure == Exposure::Store || ended_since
        }
        KeyState::PreActivation | KeyState::Retired | KeyState::Compromised | KeyState::Destroyed => false,
    };
    // The primary first.
    key.versions.values().rev().filter(is_affected)
}

/// Since when what is asked about counts, where nothing else was said.
#[must_use]
pub fn since(snapshot: &Snapshot, asked: &Asked) -> Time {
    let activated = |name: &KeyName| snapshot.ring().key(name).ok()?.primary()?.activated_at;
    asked.since.or_else(|| asked.target.key().and_then(activated)).unwrap_or(Time::UNIX_EPOCH)
}
