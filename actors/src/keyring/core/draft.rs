//! A change of one key in the making. All movements of versions go through here, so that every door moves them alike.

use std::{collections::BTreeSet, sync::Arc};

use claviger_crypto::material::Material;
use claviger_entity::{KeyState, VersionNumber};

use super::{
    Change, Event, Key, KeyRecord, NewVersion, RingError, Subject, Time, VersionRecord, Versions, policy,
};
use crate::keyring::record::Origin;

pub(super) struct Draft {
    record: KeyRecord,
    versions: Versions,
    is_new: bool,
    inserted: Vec<(VersionNumber, claviger_crypto::secret::SecretBytes)>,
    touched: BTreeSet<VersionNumber>,
    events: Vec<Event>,
    now: Time,
}

impl Draft {
    pub(super) fn new_key(record: KeyRecord, now: Time) -> Self {
        Self {
            record,
            versions: Versions::new(),
            is_new: true,
            inserted: Vec::new(),
            touched: BTreeSet::new(),
            events: Vec::new(),
            now,
        }
    }

    pub(super) fn of(key: &Arc<Key>, now: Time) -> Self {
        let Key { record, versions } = Key::clone(key);
        Self {
            record,
            versions,
            is_new: false,
            inserted: Vec::new(),
            touched: BTreeSet::new(),
            events: Vec::new(),
            now,
        }
    }

    pub(super) const fn record(&mut self) -> &mut KeyRecord {
        &mut self.record
    }

    pub(super) fn in_state(&self, state: KeyState) -> Option<VersionNumber> {
        self.versions.values().rev().find(|version| version.state == state).map(|version| version.version)
    }

    /// Publishes material as the next version, a standby.
    pub(super) fn publish(&mut self, material: Material, origin: Origin) -> VersionNumber {
        let number = if self.versions.is_empty() && self.is_new {
            VersionNumber::FIRST
        } else {
            self.record.latest_version.next()
        };
        let version = VersionRecord::publish(number, &material, origin, self.now);
        self.record.latest_version = number;
        self.versions.insert(number, version);
        self.inserted.push((number, material.secret));
        number
    }

    /// Makes a version the primary; the one before is deactivated, its `verify_until` fixed now.
    pub(super) fn activate(&mut self, number: VersionNumber) -> Result<Option<VersionNumber>, RingError> {
        let previous = self.in_state(KeyState::Active);
        if let Some(previous) = previous {
            self.deactivate(previous)?;
        }
        let now = self.now;
        let version = self.version(number)?;
        version.state = KeyState::Active;
        version.activated_at = Some(now);
        version.changed_at = now;
        Ok(previous)
    }

    /// A version stops producing but goes on verifying, for the key's grace.
    pub(super) fn deactivate(&mut self, number: VersionNumber) -> Result<(), RingError> {
        let now = self.now;
        let verify_until = policy::grace(&self.record).and_then(|grace| now.checked_add_signed(grace));
        let version = self.version(number)?;
        version.state = KeyState::Deactivated;
        version.deactivated_at.get_or_insert(now);
        version.verify_until = version.verify_until.or(verify_until);
        version.changed_at = now;
        Ok(())
    }

    /// Moves a version to a state that needs no more than the move itself; erased states lose their material.
    pub(super) fn set_state(
        &mut self,
        number: VersionNumber,
        state: KeyState,
        reason: Option<&str>,
    ) -> Result<(), RingError> {
        let now = self.now;
        let version = self.version(number)?;
        if version.state == KeyState::Active {
            version.deactivated_at.get_or_insert(now);
        }
        version.state = state;
        version.changed_at = now;
        version.reason = reason.map(str::to_owned);
        if state.is_erased() {
            version.erase();
        }
        Ok(())
    }

    pub(super) fn version(&mut self, number: VersionNumber) -> Result<&mut VersionRecord, RingError> {
        self.touched.insert(number);
        self.versions.get_mut(&number).ok_or(RingError::VersionNotFound)
    }

    pub(super) fn versions(&self) -> &Versions {
        &self.versions
    }

    /// Writes a line of the change log about a version as it now is.
    pub(super) fn log(
        &mut self,
        kind: &'static str,
        number: VersionNumber,
        previous_version: Option<VersionNumber>,
        reason: Option<&str>,
    ) -> Result<(), RingError> {
        let subject = self.subject(number)?;
        self.events.push(Event { kind, subject, previous_version, reason: reason.map(str::to_owned) });
        Ok(())
    }

    fn subject(&self, number: VersionNumber) -> Result<Subject, RingError> {
        let version = self.versions.get(&number).ok_or(RingError::VersionNotFound)?;
        Ok(Subject {
            name: self.record.name.clone(),
            version: number,
            kid: version.kid.clone(),
            state: version.state,
        })
    }

    /// The finished change, whose answer names `number`.
    pub(super) fn finish(mut self, number: VersionNumber) -> Result<Change, RingError> {
        let subject = self.subject(number)?;
        self.record.updated_at = self.now;
        if !self.is_new {
            self.record.revision = self.record.revision.saturating_add(1);
        }
        let mut inserted = Vec::with_capacity(self.inserted.len());
        for (number, secret) in self.inserted {
            self.touched.remove(&number);
            let record = self.versions.get(&number).cloned().ok_or(RingError::VersionNotFound)?;
            inserted.push(NewVersion { record, secret });
        }
        let updated = self.touched.iter().filter_map(|number| self.versions.get(number).cloned()).collect();
        Ok(Change { key: self.record, is_new: self.is_new, inserted, updated, events: self.events, subject })
    }
}
