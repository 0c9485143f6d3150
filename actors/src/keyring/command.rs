//! What the one writer can carry out: changes of keys, of API keys, of policies. Each is decided on its own core; all are written in
//! the same way, under one epoch.

use claviger_entity::KeyName;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use uuid::Uuid;

use super::{
    actor::RingFailure,
    core::{Change, Command, RingError, Subject},
    record::Time,
    snapshot::{Position, Snapshot},
};
use crate::{
    access::{
        ApiKeyChange, ApiKeyCommand, ApiKeySubject, PolicyChange, PolicyCommand, PolicySubject,
        PrincipalRecord,
    },
    seal::{Binding, Keychain, SealError},
    store::{ChangeSet, LogLine, PolicyWrite, VersionWrite},
};

/// A command with its way through the writer.
pub(crate) trait RingCommand: Send + 'static {
    /// What was decided.
    type Change;
    /// What an answer names; kept sealed for retries.
    type Subject: Clone + Serialize + DeserializeOwned + Send + 'static;

    /// Judges the command; nothing has changed yet.
    fn decide(self, base: &Snapshot, now: Time) -> Result<Self::Change, RingFailure>;

    /// Seals what is secret.
    fn seal(_change: &mut Self::Change, _keychain: &Keychain) -> Result<(), RingFailure> {
        Ok(())
    }

    /// Versions of the key `stores` that this ends: nothing may be sealed under them any more.
    fn ended(_change: &Self::Change, _base: &Snapshot) -> Vec<String> {
        Vec::new()
    }

    /// The pairing request that this settles: it must still wait.
    fn settles(_change: &Self::Change) -> Option<Uuid> {
        None
    }

    /// What the answer will name.
    fn subject(change: &Self::Change) -> Self::Subject;

    /// What the audit record says of it.
    fn describe(change: &Self::Change) -> serde_json::Value;

    /// Its rows and lines of the change log.
    fn fill(change: &Self::Change, set: &mut ChangeSet);

    /// The ring after it.
    fn evolve(change: Self::Change, base: &Snapshot, position: Position) -> Snapshot;
}

impl RingCommand for Command {
    type Change = Change;
    type Subject = Subject;

    fn decide(self, base: &Snapshot, now: Time) -> Result<Change, RingFailure> {
        Ok(base.ring().decide(self, now)?)
    }

    fn seal(change: &mut Change, keychain: &Keychain) -> Result<(), RingFailure> {
        for new in &mut change.inserted {
            let binding = Binding::material(
                keychain.deployment(),
                change.key.id,
                new.record.version,
                change.key.key_type,
            );
            let (dek_id, sealed) = keychain.seal(&binding, &new.secret).map_err(|_| RingFailure::Seal)?;
            new.record.dek_id = dek_id;
            new.record.sealed = Some(sealed.into());
        }
        // Whatever is written anyway is sealed under the present data-encryption key, wherever the row is by now.
        for version in &mut change.updated {
            let Some(sealed) = &version.sealed else { continue };
            let binding =
                Binding::material(keychain.deployment(), change.key.id, version.version, change.key.key_type);
            match keychain.reseal(version.dek_id, &binding, sealed) {
                Ok(None) => {}
                Ok(Some((dek_id, sealed))) => {
                    version.dek_id = dek_id;
                    version.sealed = Some(sealed.into());
                }
                // What can't be opened stays as it is: a compromise must be possible to record all the same.
                Err(SealError::Damaged | SealError::MissingDataKey) => {}
                Err(SealError::WrongMaster | SealError::Primitive) => return Err(RingFailure::Seal),
            }
        }
        Ok(())
    }

    fn ended(change: &Change, base: &Snapshot) -> Vec<String> {
        let Some(before) = base.ring().any(&change.key.name) else { return Vec::new() };
        if change.key.name != KeyName::stores() {
            return Vec::new();
        }
        // A key whose deletion is scheduled seals nothing more, so what it has sealed could not move either.
        let all = change.key.delete_at.is_some() || change.key.deleted_at.is_some();
        let is_erased = |number| {
            change.updated.iter().any(|version| version.version == number && version.state.is_erased())
        };
        let ended = before.versions.values().filter(|version| {
            version.sealed.is_some()
                && (all || version.version < change.key.min_decryption_version || is_erased(version.version))
        });
        ended.map(|version| version.kid.as_str().to_owned()).collect()
    }

    fn subject(change: &Change) -> Subject {
        change.subject.clone()
    }

    fn describe(change: &Change) -> serde_json::Value {
        let subject = &change.subject;
        json!({
            "event": change.events.first().map(|event| event.kind),
            "key": subject.name,
            "version": subject.version,
            "kid": subject.kid,
        })
    }

    fn fill(change: &Change, set: &mut ChangeSet) {
        let inserted = change.inserted.iter().map(|new| (&new.record, true));
        let updated = change.updated.iter().map(|version| (version, false));
        set.versions = inserted
            .chain(updated)
            .map(|(record, is_new)| VersionWrite { key_id: change.key.id, record: record.clone(), is_new })
            .collect();
        set.key = Some((change.key.clone(), change.is_new));
        set.lines = change.events.iter().map(LogLine::of_key).collect();
    }

    fn evolve(change: Change, base: &Snapshot, position: Position) -> Snapshot {
        let name = change.key.name.clone();
        let relabelled =
            base.ring().any(&name).is_some_and(|before| before.record.labels != change.key.labels);
        let mut ring = base.ring().clone();
        ring.evolve(change);
        base.succeed(position, ring, &name, relabelled)
    }
}

impl RingCommand for ApiKeyCommand {
    type Change = ApiKeyChange;
    type Subject = ApiKeySubject;

    fn decide(self, base: &Snapshot, now: Time) -> Result<ApiKeyChange, RingFailure> {
        Ok(Self::decide(self, base.access(), now)?)
    }

    fn subject(change: &ApiKeyChange) -> ApiKeySubject {
        ApiKeySubject { id: change.record.id, secret: change.secret.clone() }
    }

    fn describe(change: &ApiKeyChange) -> serde_json::Value {
        let record = &change.record;
        json!({
            "event": change.event,
            "api_key": record.id.simple().to_string(),
            "name": record.name,
            "roles": record.roles,
            "expires_at": record.expires_at,
        })
    }

    fn fill(change: &ApiKeyChange, set: &mut ChangeSet) {
        set.principal = Some((change.record.clone(), change.is_new));
        set.lines = vec![LogLine::of(change.event, format!("api-key/{}", change.record.id.simple()))];
    }

    fn evolve(change: ApiKeyChange, base: &Snapshot, position: Position) -> Snapshot {
        // What a principal may do follows from its roles, and those never change.
        base.with_access(position, base.access().with_principal(change.record), false)
    }
}

/// The first administrator of a deployment; once.
pub(crate) struct FirstAdministrator(pub(crate) PrincipalRecord);

impl RingCommand for FirstAdministrator {
    type Change = PrincipalRecord;
    type Subject = Uuid;

    fn decide(self, _: &Snapshot, _: Time) -> Result<PrincipalRecord, RingFailure> {
        Ok(self.0)
    }

    fn subject(change: &PrincipalRecord) -> Uuid {
        change.id
    }

    fn describe(change: &PrincipalRecord) -> serde_json::Value {
        json!({ "event": "api_key.created", "api_key": change.id.simple().to_string(), "name": change.name })
    }

    fn fill(change: &PrincipalRecord, set: &mut ChangeSet) {
        set.principal = Some((change.clone(), true));
        set.bootstrapped = true;
        set.lines = vec![LogLine::of("api_key.created", format!("api-key/{}", change.id.simple()))];
    }

    fn evolve(change: PrincipalRecord, base: &Snapshot, position: Position) -> Snapshot {
        base.with_access(position, base.access().with_principal(change), false)
    }
}

impl RingCommand for PolicyCommand {
    type Change = PolicyChange;
    type Subject = PolicySubject;

    fn decide(self, base: &Snapshot, now: Time) -> Result<PolicyChange, RingFailure> {
        Ok(Self::decide(self, base.access(), base.epoch.0 + 1, now)?)
    }

    fn subject(change: &PolicyChange) -> PolicySubject {
        PolicySubject { name: change.name.clone(), is_new: change.is_new }
    }

    fn describe(change: &PolicyChange) -> serde_json::Value {
        let text = change.record.as_ref().map(|record| record.text.as_str());
        json!({ "event": change.event(), "policy": change.name, "text": text })
    }

    fn fill(change: &PolicyChange, set: &mut ChangeSet) {
        set.policy = Some(match &change.record {
            Some(record) => PolicyWrite::Put(Box::new(record.clone())),
            None => PolicyWrite::Delete(change.name.clone()),
        });
        set.manifest = Some(change.manifest.clone());
        set.lines = vec![LogLine::of(change.event(), format!("policy/{}", change.name))];
    }

    fn evolve(change: PolicyChange, base: &Snapshot, position: Position) -> Snapshot {
        let access = base.access().with_policy(&change.name, change.record, change.manifest);
        base.with_access(position, access, true)
    }
}

/// A deployment that was restored from a backup serves as usual from now on.
pub(crate) struct Release;

impl RingCommand for Release {
    type Change = ();
    type Subject = ();

    fn decide(self, base: &Snapshot, _: Time) -> Result<(), RingFailure> {
        match base.restored() {
            Some(_) => Ok(()),
            None => Err(RingError::StateConflict("the deployment is not waiting to be released").into()),
        }
    }

    fn subject((): &()) {}

    fn describe((): &()) -> serde_json::Value {
        json!({ "event": "restore.released" })
    }

    fn fill((): &(), set: &mut ChangeSet) {
        set.released = true;
        set.lines = vec![LogLine::of("restore.released", "deployment".to_owned())];
    }

    fn evolve((): (), base: &Snapshot, position: Position) -> Snapshot {
        base.with_access(position, base.access().clone(), false).held_since(None)
    }
}
