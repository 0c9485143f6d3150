//! The key ring as a pure state machine: no clock, no randomness, no I/O.
//!
//! [`Ring::decide`] judges a command against the ring as it stands and answers with a [`Change`]; the shell persists that
//! change and only then calls [`Ring::evolve`]. Splitting the two is what makes *persist → swap → reply* honest: a change that
//! could not be written has never happened to anybody (docs/decisions/0003). A ring is cheap to clone, its keys are shared.

mod create;
mod deletion;
mod draft;
mod error;
mod import;
mod rotate;
mod spec;
mod temporary;
#[cfg(test)]
mod tests;
mod transition;
mod update;
mod upkeep;

use std::{collections::BTreeMap, sync::Arc};

use claviger_crypto::{material::Material, secret::SecretBytes};
use claviger_entity::{KeyName, KeyState, Kid, VersionNumber};
use rpds::{HashTrieMapSync, RedBlackTreeMapSync};

pub use error::RingError;
pub use spec::{
    Command, CreateKey, Exposure, ImportKey, Imported, Rotate, Transition, TransitionKind, UpdateKey, Use,
};
pub use update::labels_after;
pub(crate) use upkeep::{end_of_life_at, lacks_standby, next_retirement_at};

use super::{
    policy,
    record::{Key, KeyRecord, Quarantined, Time, VersionRecord},
};

/// All keys of a deployment at one moment.
#[derive(Debug, Clone, Default)]
pub struct Ring {
    keys: RedBlackTreeMapSync<KeyName, Arc<Key>>,
    kids: HashTrieMapSync<Kid, (KeyName, VersionNumber)>,
    quarantined: Arc<Vec<Quarantined>>,
}

/// What a command does to one key, decided but not yet written.
pub struct Change {
    /// The key as it will be.
    pub key: KeyRecord,
    /// The key's row does not exist yet.
    pub is_new: bool,
    /// Versions to insert, with their material still open.
    pub inserted: Vec<NewVersion>,
    /// Versions to update.
    pub updated: Vec<VersionRecord>,
    /// What the change log says, in order.
    pub events: Vec<Event>,
    /// The version that the caller is told about.
    pub subject: Subject,
}

/// A version on its way into the database.
pub struct NewVersion {
    /// The version; `sealed` is filled in by the shell.
    pub record: VersionRecord,
    /// Its material.
    pub secret: SecretBytes,
}

/// The version that an answer names.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Subject {
    /// The key.
    pub name: KeyName,
    /// Number of the version.
    pub version: VersionNumber,
    /// Its identifier.
    pub kid: Kid,
    /// Its state after the change.
    pub state: KeyState,
}

/// One line of the change log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Such as `key.rotated`.
    pub kind: &'static str,
    /// The version concerned.
    pub subject: Subject,
    /// The primary before, where another took its place.
    pub previous_version: Option<VersionNumber>,
    /// Why, in the words of whoever asked for it.
    pub reason: Option<String>,
}

impl Ring {
    /// A ring from loaded keys.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = Key>, quarantined: Vec<Quarantined>) -> Self {
        let mut ring = Self { quarantined: Arc::new(quarantined), ..Self::default() };
        for key in keys {
            ring.put(key);
        }
        ring
    }

    /// Judges a command. The ring stays as it is.
    ///
    /// # Errors
    /// The command can't be carried out; nothing has changed.
    pub fn decide(&self, command: Command, now: Time) -> Result<Change, RingError> {
        let change = match command {
            Command::Create(spec, materials) => create::decide(self, *spec, materials, now),
            Command::Import(spec) => import::decide(self, *spec, now),
            Command::Update(update) => update::decide(self, &update, now),
            Command::Rotate(rotate, spare) => rotate::decide(self, &rotate, spare, now),
            Command::Transition(transition, spares) => transition::decide(self, &transition, spares, now),
            Command::ScheduleDeletion { name, after } => deletion::schedule(self, &name, after, now),
            Command::Restore { name } => deletion::restore(self, &name, now),
            Command::Replenish { name, spare } => upkeep::replenish(self, &name, *spare, now),
            Command::Retire { name } => upkeep::retire(self, &name, now),
            Command::EndOfLife { name } => upkeep::end_of_life(self, &name, now),
            Command::Consume { name, version, what } => temporary::consume(self, &name, version, what, now),
        }?;
        self.refuse_known_kids(&change)?;
        Ok(change)
    }

    /// Takes in a change that has been written.
    pub fn evolve(&mut self, change: Change) {
        let mut versions =
            self.keys.get(&change.key.name).map(|key| key.versions.clone()).unwrap_or_default();
        for version in change.inserted.into_iter().map(|new| new.record).chain(change.updated) {
            versions.insert(version.version, version);
        }
        self.put(Key { record: change.key, versions });
    }

    /// Takes in a key as another node has left it.
    pub(crate) fn replace(&mut self, key: Key) {
        self.put(key);
    }

    /// A key that is not deleted.
    ///
    /// # Errors
    /// [`RingError::Quarantined`] or [`RingError::KeyNotFound`].
    pub fn key(&self, name: &KeyName) -> Result<&Arc<Key>, RingError> {
        match self.keys.get(name) {
            Some(key) if key.record.deleted_at.is_none() => Ok(key),
            _ if self.is_quarantined(name) => Err(RingError::Quarantined),
            _ => Err(RingError::KeyNotFound),
        }
    }

    /// The name is or was in use.
    #[must_use]
    pub fn is_taken(&self, name: &KeyName) -> bool {
        self.keys.contains_key(name) || self.is_quarantined(name)
    }

    /// A key by name, a deleted one too.
    pub(crate) fn any(&self, name: &KeyName) -> Option<&Arc<Key>> {
        self.keys.get(name)
    }

    /// Key and version that carry a `kid`.
    #[must_use]
    pub fn by_kid(&self, kid: &Kid) -> Option<(&Arc<Key>, &VersionRecord)> {
        let (name, version) = self.kids.get(kid)?;
        let key = self.keys.get(name)?;
        Some((key, key.versions.get(version)?))
    }

    /// Keys by name, deleted ones and the service's own included.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<Key>> {
        self.keys.values()
    }

    /// Keys whose names come after `name`, in order.
    pub fn keys_after<'a>(&'a self, name: Option<&KeyName>) -> impl Iterator<Item = &'a Arc<Key>> {
        use std::ops::Bound;
        let start = name.map_or(Bound::Unbounded, |name| Bound::Excluded(name.clone()));
        self.keys.range((start, Bound::Unbounded)).map(|(_, key)| key)
    }

    /// Rows that were found damaged.
    #[must_use]
    pub fn quarantined(&self) -> &[Quarantined] {
        &self.quarantined
    }

    fn is_quarantined(&self, name: &KeyName) -> bool {
        self.quarantined.iter().any(|row| row.version.is_none() && row.key == name.as_str())
    }

    fn put(&mut self, key: Key) {
        for version in key.versions.values() {
            if !self.kids.contains_key(&version.kid) {
                self.kids.insert_mut(version.kid.clone(), (key.record.name.clone(), version.version));
            }
        }
        self.keys.insert_mut(key.record.name.clone(), Arc::new(key));
    }

    /// A `kid` is never reused, not even by the key that had it.
    fn refuse_known_kids(&self, change: &Change) -> Result<(), RingError> {
        let mut seen = std::collections::BTreeSet::new();
        for new in &change.inserted {
            if self.kids.contains_key(&new.record.kid) || !seen.insert(&new.record.kid) {
                return Err(RingError::KidExists);
            }
        }
        Ok(())
    }
}

impl VersionRecord {
    /// A version that is being published now.
    fn publish(number: VersionNumber, material: &Material, origin: super::record::Origin, now: Time) -> Self {
        Self {
            version: number,
            kid: material.kid.clone(),
            state: KeyState::PreActivation,
            origin,
            created_at: now,
            activated_at: None,
            deactivated_at: None,
            verify_until: None,
            changed_at: now,
            reason: None,
            alias_hash: None,
            public_spki: material.public_spki.as_deref().map(Arc::from),
            sealed: None,
            dek_id: uuid::Uuid::nil(),
        }
    }

    /// Takes the material away for good.
    fn erase(&mut self) {
        self.sealed = None;
        self.alias_hash = None;
    }
}

/// Versions by number, for the drafts of this module.
type Versions = BTreeMap<VersionNumber, VersionRecord>;
