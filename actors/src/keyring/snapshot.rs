//! The ring as readers see it: immutable, swapped as a whole, with keys prepared for use.
//!
//! A request loads the snapshot once and works on it to its end. No lock, no mailbox, no database.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use claviger_crypto::{digest, prepared::PreparedKey};
use claviger_entity::{KeyName, KeyState, Kid};
use rpds::HashTrieMapSync;

use super::{
    actor::ChangeContext,
    core::{Ring, RingError},
    jwks::Jwks,
    record::{Key, Quarantined, Time, VersionRecord},
};
use crate::{
    access::Access,
    audit::signed::Signing,
    clock::uptime,
    devices::Devices,
    incidents::Standing,
    seal::{Binding, Keychain},
    store::{Changes, Restored},
};

/// Position of a ring in its history: incarnation · 2^32 + counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// From its two halves.
    #[must_use]
    pub const fn new(incarnation: u32, counter: u32) -> Self {
        Self(((incarnation as u64) << 32) | counter as u64)
    }

    /// Grows with each restore.
    #[must_use]
    pub const fn incarnation(self) -> u64 {
        self.0 >> 32
    }

    /// Grows by one with each change.
    #[must_use]
    pub const fn counter(self) -> u64 {
        self.0 & 0xffff_ffff
    }

    /// From the columns of the database.
    #[must_use]
    pub fn of_row(incarnation: i64, counter: i64) -> Option<Self> {
        Some(Self::new(u32::try_from(incarnation).ok()?, u32::try_from(counter).ok()?))
    }
}

/// A place in history: two rings at one position are the same ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// How far.
    pub epoch: Epoch,
    /// Hash over every change up to here: a history that was rewound and went on has other hashes.
    pub head: [u8; 32],
}

impl Position {
    /// The position after a change with this record.
    #[must_use]
    pub fn after(&self, record: &str) -> Self {
        let head = digest::sha256(&[self.head.as_slice(), record.as_bytes()].concat());
        Self { epoch: Epoch(self.epoch.0 + 1), head }
    }
}

/// Material that was opened and parsed on first use and is kept until the version is erased.
type Slot = Arc<OnceLock<Arc<PreparedKey>>>;

/// When a ring was last known to be whole. It belongs to the ring, not to the node: a request that still works on an older one is not
/// made fresh by the node's having a newer one. A newer one learns it from the one before when it is published.
#[derive(Debug, Default)]
pub struct Confirmed(AtomicU64);

impl Confirmed {
    /// It was so at this uptime.
    pub(crate) fn at(&self, uptime: Duration) {
        self.0.fetch_max(u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX), Ordering::AcqRel);
    }

    /// How long ago that was.
    #[must_use]
    pub fn age(&self) -> Duration {
        uptime().saturating_sub(self.uptime())
    }

    /// When that was; zero = never.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Acquire))
    }
}

/// The whole ring at one epoch.
pub struct Snapshot {
    /// Where in history.
    pub epoch: Epoch,
    head: [u8; 32],
    confirmed: Arc<Confirmed>,
    ring: Ring,
    slots: HashTrieMapSync<Kid, Slot>,
    aliases: HashTrieMapSync<[u8; 32], Vec<Kid>>,
    access: Access,
    devices: Devices,
    standing: Standing,
    access_revision: u64,
    keychain: Arc<Keychain>,
    jwks: OnceLock<Arc<Jwks>>,
    restored: Option<Arc<Restored>>,
    /// Made on first use; every ring has its own, since it names the epoch.
    pub(super) signing: OnceLock<Option<Signing>>,
    /// What credentials are hashed with.
    pub(super) hasher: OnceLock<Option<Arc<PreparedKey>>>,
}

/// A version ready for use, found by a reader.
pub struct Usable<'a> {
    /// Its key.
    pub key: &'a Arc<Key>,
    /// Its record.
    pub version: &'a VersionRecord,
    /// Its material.
    pub material: Arc<PreparedKey>,
}

/// Why a version can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// No such key, or it is quarantined.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The `kid` is unknown here or belongs to another key.
    #[error("the kid is not one of this key's")]
    UnknownKid,
    /// The version's state does not allow the operation.
    #[error("the version's state ({0}) does not allow this")]
    State(KeyState),
    /// The version is older than the key's `min_decryption_version`.
    #[error("the version is older than min_decryption_version")]
    BelowMinimum,
    /// The key has no primary, or may not use it.
    #[error("{0}")]
    NoPrimary(&'static str),
    /// The material could not be opened; the row is intact, so this is a fault of ours.
    #[error("the material of a version could not be opened")]
    Material,
}

impl Snapshot {
    /// A snapshot of a ring that was just loaded.
    #[must_use]
    pub fn new(position: Position, ring: Ring, access: Access, keychain: Arc<Keychain>) -> Self {
        let mut snapshot = Self {
            epoch: position.epoch,
            head: position.head,
            confirmed: Arc::default(),
            ring: Ring::default(),
            slots: HashTrieMapSync::default(),
            aliases: HashTrieMapSync::default(),
            access,
            devices: Devices::default(),
            standing: Standing::default(),
            access_revision: fresh_revision(),
            keychain,
            jwks: OnceLock::new(),
            restored: None,
            signing: OnceLock::new(),
            hasher: OnceLock::new(),
        };
        for key in ring.keys() {
            snapshot.index(key);
        }
        snapshot.ring = ring;
        snapshot
    }

    /// The snapshot after a change of one key; `relabelled` says that policies may judge it otherwise now.
    #[must_use]
    pub fn succeed(&self, position: Position, ring: Ring, changed: &KeyName, relabelled: bool) -> Self {
        let mut next = Self {
            epoch: position.epoch,
            head: position.head,
            confirmed: Arc::default(),
            ring: Ring::default(),
            slots: self.slots.clone(),
            aliases: self.aliases.clone(),
            access: self.access.clone(),
            devices: self.devices.clone(),
            standing: self.standing.clone(),
            access_revision: if relabelled { fresh_revision() } else { self.access_revision },
            keychain: Arc::clone(&self.keychain),
            jwks: OnceLock::new(),
            restored: self.restored.clone(),
            signing: OnceLock::new(),
            hasher: OnceLock::new(),
        };
        if let Some(key) = ring.any(changed) {
            next.index(key);
        }
        next.ring = ring;
        next
    }

    /// The snapshot after a change of access; `decides` says that policies may judge otherwise now.
    #[must_use]
    pub fn with_access(&self, position: Position, access: Access, decides: bool) -> Self {
        Self {
            epoch: position.epoch,
            head: position.head,
            confirmed: Arc::default(),
            ring: self.ring.clone(),
            slots: self.slots.clone(),
            aliases: self.aliases.clone(),
            access,
            devices: self.devices.clone(),
            standing: self.standing.clone(),
            access_revision: if decides { fresh_revision() } else { self.access_revision },
            keychain: Arc::clone(&self.keychain),
            jwks: self.jwks.clone(),
            restored: self.restored.clone(),
            signing: OnceLock::new(),
            hasher: OnceLock::new(),
        }
    }

    /// The snapshot after a change of devices; `decides` says that policies may judge otherwise now.
    #[must_use]
    pub(crate) fn with_devices(&self, position: Position, devices: Devices, decides: bool) -> Self {
        self.with_access(position, self.access.clone(), decides).knowing(devices)
    }

    /// The same with these devices.
    pub(crate) fn knowing(mut self, devices: Devices) -> Self {
        self.devices = devices;
        self
    }

    /// The same ring of a deployment that was restored, or of one that was not or is released.
    pub(crate) fn held_since(mut self, restored: Option<Restored>) -> Self {
        self.restored = restored.map(Arc::new);
        self
    }

    /// The deployment was restored from a backup and is not released yet: until then it makes nothing new with its keys.
    #[must_use]
    pub fn restored(&self) -> Option<&Restored> {
        self.restored.as_deref()
    }

    /// The snapshot after a change of incidents. Who is shut out is asked at the door, not of policies.
    #[must_use]
    pub(crate) fn with_standing(&self, position: Position, standing: Standing) -> Self {
        self.with_access(position, self.access.clone(), false).standing_with(standing)
    }

    /// The same with these incidents.
    pub(crate) fn standing_with(mut self, standing: Standing) -> Self {
        self.standing = standing;
        self
    }

    fn index(&mut self, key: &Key) {
        for version in key.versions.values() {
            if version.sealed.is_none() {
                self.slots.remove_mut(&version.kid);
                continue;
            }
            if !self.slots.contains_key(&version.kid) {
                self.slots.insert_mut(version.kid.clone(), Slot::default());
            }
            if let Some(alias) = version.alias_hash {
                let mut kids = self.aliases.get(&alias).cloned().unwrap_or_default();
                if !kids.contains(&version.kid) {
                    kids.push(version.kid.clone());
                }
                self.aliases.insert_mut(alias, kids);
            }
        }
    }

    /// The snapshot after changes that others made, whatever they were of.
    #[must_use]
    pub fn follow(&self, changes: Changes) -> Self {
        let (mut ring, mut relabelled, mut access) = (self.ring.clone(), false, self.access.clone());
        let mut decides = !changes.policies.is_empty();
        let keys: Vec<KeyName> = changes.keys.iter().map(|key| key.record.name.clone()).collect();
        for key in changes.keys {
            let before = ring.any(&key.record.name);
            relabelled |= before.is_some_and(|before| before.record.labels != key.record.labels);
            ring.replace(key);
        }
        for record in changes.principals {
            access = access.with_principal(record);
        }
        for (name, record) in changes.policies {
            access = access.with_policy(&name, record, changes.manifest.clone());
        }
        let mut devices = self.devices.clone();
        for (id, device) in changes.devices {
            decides |= devices.judges_otherwise(&id, device.as_ref());
            devices = devices.with(&id, device);
        }
        let mut next = self.with_access(changes.position, access, decides || relabelled).knowing(devices);
        if let Some(standing) = changes.standing {
            next.standing = standing;
        }
        if !keys.is_empty() {
            next.jwks = OnceLock::new();
        }
        for key in keys.iter().filter_map(|name| ring.any(name)) {
            next.index(key);
        }
        next.ring = ring;
        next
    }

    /// When the database was last known to have nothing that this ring lacks.
    #[must_use]
    pub const fn confirmed(&self) -> &Arc<Confirmed> {
        &self.confirmed
    }

    /// Where in history, exactly.
    #[must_use]
    pub const fn position(&self) -> Position {
        Position { epoch: self.epoch, head: self.head }
    }

    /// The ring itself.
    #[must_use]
    pub const fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Rows that were found damaged.
    #[must_use]
    pub fn quarantined(&self) -> &[Quarantined] {
        self.ring.quarantined()
    }

    /// Who may call, and what they may do.
    #[must_use]
    pub const fn access(&self) -> &Access {
        &self.access
    }

    /// The devices.
    #[must_use]
    pub const fn devices(&self) -> &Devices {
        &self.devices
    }

    /// Incidents that are not over.
    #[must_use]
    pub const fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Whoever asks for a change is still somebody.
    pub(crate) fn accepts(&self, context: &ChangeContext, now: Time) -> bool {
        let is_live = |id| self.access.api_key(id).is_some_and(|principal| principal.record.is_live(now));
        context.api_key.is_none_or(is_live)
            && context.device.is_none_or(|device| self.devices.still(&device).is_some())
    }

    /// Moves whenever policies may judge otherwise: with policies and labels, never with a rotation. Decisions are kept under it.
    #[must_use]
    pub const fn access_revision(&self) -> u64 {
        self.access_revision
    }

    /// A key that a caller may name: not one of our own, not deleted.
    ///
    /// # Errors
    /// See [`RingError`].
    pub fn key(&self, name: &KeyName) -> Result<&Arc<Key>, RingError> {
        if name.is_internal() { Err(RingError::KeyNotFound) } else { self.ring.key(name) }
    }

    /// The primary of a key, to sign or encrypt with.
    ///
    /// # Errors
    /// See [`Unusable`].
    pub fn primary(&self, name: &KeyName) -> Result<Usable<'_>, Unusable> {
        let key = self.ring.key(name)?;
        if key.record.delete_at.is_some() {
            return Err(Unusable::NoPrimary(
                "the key is scheduled for deletion; it verifies and decrypts only",
            ));
        }
        let version = key
            .primary()
            .ok_or(Unusable::NoPrimary("the key has no active version; it verifies and decrypts only"))?;
        Ok(Usable { key, version, material: self.prepare(key, version)? })
    }

    /// The version that a `kid` names, to verify or decrypt with.
    ///
    /// # Errors
    /// See [`Unusable`].
    pub fn consumer(&self, kid: &Kid) -> Result<Usable<'_>, Unusable> {
        let (key, version) = self.ring.by_kid(kid).ok_or(Unusable::UnknownKid)?;
        if key.record.deleted_at.is_some() || key.record.name.is_internal() {
            return Err(Unusable::UnknownKid);
        }
        if !version.state.may_consume() {
            return Err(Unusable::State(version.state));
        }
        if version.version < key.record.min_decryption_version {
            return Err(Unusable::BelowMinimum);
        }
        Ok(Usable { key, version, material: self.prepare(key, version)? })
    }

    /// A compromised version of a key, to rescue data with.
    ///
    /// # Errors
    /// See [`Unusable`].
    pub fn compromised(&self, kid: &Kid) -> Result<Usable<'_>, Unusable> {
        let (key, version) = self.ring.by_kid(kid).ok_or(Unusable::UnknownKid)?;
        if version.state != KeyState::Compromised {
            return Err(Unusable::State(version.state));
        }
        Ok(Usable { key, version, material: self.prepare(key, version)? })
    }

    /// Versions of a key that may verify or decrypt, newest first.
    pub fn consumers<'a>(&'a self, key: &'a Arc<Key>) -> impl Iterator<Item = Usable<'a>> {
        let minimum = key.record.min_decryption_version;
        key.versions
            .values()
            .rev()
            .filter(move |version| version.state.may_consume() && version.version >= minimum)
            .filter_map(|version| Some(Usable { key, version, material: self.prepare(key, version).ok()? }))
    }

    /// Versions that a replaced system knew under an id whose keyed hash this is.
    #[must_use]
    pub fn aliased(&self, alias_hash: &[u8; 32]) -> &[Kid] {
        self.aliases.get(alias_hash).map_or(&[], Vec::as_slice)
    }

    /// Opened material of a version that has been used already.
    #[must_use]
    pub(crate) fn prepared(&self, kid: &Kid) -> Option<Arc<PreparedKey>> {
        self.slots.get(kid)?.get().cloned()
    }

    /// Opened material, parsed once.
    ///
    /// # Errors
    /// [`Unusable::Material`].
    pub fn prepare(&self, key: &Key, version: &VersionRecord) -> Result<Arc<PreparedKey>, Unusable> {
        let slot = self.slots.get(&version.kid).ok_or(Unusable::State(version.state))?;
        if let Some(prepared) = slot.get() {
            return Ok(Arc::clone(prepared));
        }
        let secret = self.reveal(key, version)?;
        let prepared = PreparedKey::new(key.record.key_type, &secret).map_err(|_| Unusable::Material)?;
        Ok(Arc::clone(slot.get_or_init(|| Arc::new(prepared))))
    }

    /// The material itself, for export and for our own keys.
    ///
    /// # Errors
    /// [`Unusable::Material`].
    pub fn reveal(
        &self,
        key: &Key,
        version: &VersionRecord,
    ) -> Result<claviger_crypto::secret::SecretBytes, Unusable> {
        let sealed = version.sealed.as_deref().ok_or(Unusable::State(version.state))?;
        let binding = Binding::material(
            self.keychain.deployment(),
            key.record.id,
            version.version,
            key.record.key_type,
        );
        self.keychain.open_sealed(version.dek_id, &binding, sealed).map_err(|_| Unusable::Material)
    }

    /// The public set of all token keys.
    #[must_use]
    pub fn jwks(&self) -> Arc<Jwks> {
        Arc::clone(self.jwks.get_or_init(|| Arc::new(Jwks::of_tokens(self.ring.keys()))))
    }

    /// What opens and authenticates rows.
    #[must_use]
    pub const fn keychain(&self) -> &Arc<Keychain> {
        &self.keychain
    }
}

/// Unique in this process, so that no decision of an earlier ring is ever taken for one of a later ring.
fn fresh_revision() -> u64 {
    static REVISION: AtomicU64 = AtomicU64::new(1);
    REVISION.fetch_add(1, Ordering::Relaxed)
}
