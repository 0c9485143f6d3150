//! From a database to a running ring.
//!
//! Every step can be cut off and run again: what is there is left alone, what is missing is made.

use std::{sync::Arc, time::Duration};

use claviger_crypto::{material::Material, secret::SecretBytes};
use claviger_entity::{KeyName, KeyState, KeyType, Kid, Usage, VersionNumber};
use uuid::Uuid;

use super::{
    KeyRingHandle,
    actor::{ChangeContext, RingFailure},
    command::{FirstAdministrator, RingCommand},
    core::{Command, CreateKey, Exposure, RingError, Rotate, Transition, TransitionKind},
    internal,
    record::{Key, Time},
    snapshot::Snapshot,
    writer::{Writer, Written, snapshot},
};
use crate::{
    access::{ApiKeyCommand, PrincipalRecord},
    attempts::SharedAttempts,
    backup::replay::{Fate, Replay},
    clock::{Clock, ClusterClock, uptime},
    cluster::{ClusterHandle, Hints, RedisLink},
    devices::DeviceCommand,
    events::EventsHandle,
    masters::{GivenMasters, Held, MasterSettings, MastersHandle},
    quotas::QuotaSource,
    store::{Database, NodeRow, StoreError},
    tokens::{Loaded, Revocation, TokensHandle},
};

/// Names of the keys that tokens are made with when a request names none.
#[derive(Debug, Clone)]
pub struct DefaultKeys {
    /// es256, usage token.
    pub signing: KeyName,
    /// aes256-gcm, usage token.
    pub encryption: KeyName,
}

/// This node, as the others see it.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Name.
    pub name: String,
    /// Version of the service.
    pub version: String,
    /// Time without word from the database after which it refuses work.
    pub max_staleness: Duration,
}

impl Identity {
    fn row(&self, now: i64, held: &Held) -> NodeRow {
        NodeRow {
            boot_id: Uuid::now_v7().to_string(),
            name: self.name.clone(),
            version: self.version.clone(),
            started_at: now,
            seen_at: now,
            applied_epoch: 0,
            max_staleness: i64::try_from(self.max_staleness.as_millis()).unwrap_or(i64::MAX),
            draining: false,
            seal_revision: Some(held.revision()),
            masters: Some(held.fingerprints().join(" ")),
        }
    }
}

/// A ring that has been loaded and is about to be started.
pub struct Booted {
    writer: Writer,
    snapshot: Arc<Snapshot>,
    held: Arc<Held>,
    clock: Arc<ClusterClock>,
    row: NodeRow,
    revocations: Loaded,
    /// The deployment has had its first administrator.
    pub bootstrapped: bool,
    /// `iss` of its tokens, once known.
    pub issuer: Option<String>,
}

/// What a boot is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Serve,
    /// The end of a restore; nobody is served.
    Restore,
}

/// What the end of a restore has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Completed {
    /// Versions that ended again.
    pub versions: usize,
    /// API keys that were deleted again.
    pub api_keys: usize,
    /// Devices that were removed again.
    pub devices: usize,
    /// Revocations of tokens that are in force again.
    pub revocations: usize,
    /// What the log names and the backup does not know, or has ended already.
    pub unknown: usize,
    /// Keys that encrypt with another version now.
    pub rotated: usize,
}

/// The doors to what was started.
pub struct Started {
    /// The ring.
    pub ring: KeyRingHandle,
    /// Tokens.
    pub tokens: TokensHandle,
    /// The other nodes.
    pub cluster: ClusterHandle,
    /// What happens.
    pub events: EventsHandle,
    /// Masters.
    pub masters: MastersHandle,
    /// Failed attempts, where there is Redis.
    pub attempts: Option<SharedAttempts>,
    /// By which nodes divide quotas.
    pub quotas: QuotaSource,
}

/// Why the ring did not start.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The database or the seal.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key that every deployment has could not be made.
    #[error("a default key could not be created")]
    Ring(#[from] RingFailure),
    /// A name of ours is none: this can't be.
    #[error("the name or role of the first administrator is not valid")]
    Name(#[from] claviger_entity::InvalidValue),
    /// The key that hashes tokens is quarantined: nobody could be recognised.
    #[error("the key that hashes tokens was changed in the database from outside; restore it from a backup")]
    TokenHashKey,
}

/// Opens the deployment, loads the ring and makes what every deployment has.
///
/// # Errors
/// See [`BootError`].
pub async fn boot(
    database: Database,
    masters: GivenMasters,
    identity: Identity,
    defaults: &DefaultKeys,
    clock: Arc<ClusterClock>,
) -> Result<Booted, BootError> {
    open((database, masters), identity, defaults, clock, Purpose::Serve).await
}

/// The same of a deployment whose restore has yet to be completed.
///
/// # Errors
/// See [`BootError`].
pub async fn boot_restored(
    database: Database,
    masters: GivenMasters,
    identity: Identity,
    defaults: &DefaultKeys,
    clock: Arc<ClusterClock>,
) -> Result<Booted, BootError> {
    open((database, masters), identity, defaults, clock, Purpose::Restore).await
}

async fn open(
    (database, masters): (Database, GivenMasters),
    identity: Identity,
    defaults: &DefaultKeys,
    clock: Arc<ClusterClock>,
    purpose: Purpose,
) -> Result<Booted, BootError> {
    let asked = uptime();
    if let Some(now) = database.server_clock().await? {
        clock.set(now, asked, uptime());
    }
    let deployment = database.open_deployment(&masters.keys, clock.now()).await?;
    let is_complete = deployment.restored.as_ref().is_none_or(|restored| restored.complete);
    if !is_complete && purpose == Purpose::Serve {
        return Err(StoreError::RestoreUnfinished.into());
    }
    let keychain = Arc::new(deployment.keychain);
    // First it counts, then it reads: whatever changes in between waits for it.
    let held = Arc::new(Held::new(masters, Arc::clone(&keychain)));
    let row = identity.row(clock.now().timestamp_millis(), &held);
    if database.is_shared() {
        database.enter(&row).await?;
    }
    let loaded = database.load_ring(&keychain).await?;
    let revocations = match purpose {
        Purpose::Serve => Loaded::read(&database, &keychain, &clock).await?,
        // Nobody asks, and there may be millions.
        Purpose::Restore => Loaded::none(),
    };
    let mut booted = Booted {
        snapshot: Arc::new(snapshot(loaded, &keychain)),
        revocations,
        writer: Writer { database, keychain, node: identity.name },
        held,
        row,
        clock,
        bootstrapped: deployment.bootstrapped,
        issuer: deployment.issuer,
    };
    for spec in wanted(defaults) {
        booted.ensure(spec).await?;
    }
    Ok(booted)
}

/// Keys of every deployment.
fn wanted(defaults: &DefaultKeys) -> Vec<CreateKey> {
    let mut wanted: Vec<CreateKey> = internal::specs().into();
    wanted.push(internal::plain(defaults.signing.clone(), KeyType::Es256));
    let encryption = internal::plain(defaults.encryption.clone(), KeyType::Aes256Gcm);
    wanted.push(CreateKey { usage: Some(Usage::Token), ..encryption });
    wanted.push(internal::plain(KeyName::stores(), KeyType::Aes256Gcm));
    wanted
}

impl Booted {
    async fn ensure(&mut self, spec: CreateKey) -> Result<(), BootError> {
        if self.snapshot.ring().is_taken(&spec.name) {
            return Ok(());
        }
        let generate = || Material::generate(spec.key_type, spec.bits).map_err(RingFailure::from);
        let mut materials = vec![generate()?];
        if !internal::is_fixed(&spec.name, spec.key_type) {
            materials.push(generate()?);
        }
        let command = Command::Create(Box::new(spec), materials);
        match self.write(command).await {
            // Another node that starts at the same time was first.
            Err(BootError::Ring(RingFailure::Refused(RingError::KeyExists))) => Ok(()),
            done => done,
        }
    }

    async fn write<C: RingCommand>(&mut self, command: C) -> Result<(), BootError> {
        self.write_as(command, "bootstrap").await
    }

    async fn write_as<C: RingCommand>(&mut self, command: C, request: &str) -> Result<(), BootError> {
        let context = ChangeContext::system(request);
        let turn = self.writer.take_turn().await?;
        let round = self.writer.write(turn, &self.snapshot, command, &context, &*self.clock).await?;
        if let Some(found) = round.found {
            self.snapshot = found;
        }
        if let Written::Changed(next, _) = round.written? {
            self.snapshot = next;
        }
        Ok(())
    }

    /// Makes the bearer of `token` the first administrator, if there has been none.
    ///
    /// # Errors
    /// See [`BootError`].
    pub async fn bootstrap(&mut self, token: &SecretBytes) -> Result<(), BootError> {
        if self.bootstrapped {
            return Ok(());
        }
        let admin = PrincipalRecord {
            id: Uuid::now_v7(),
            name: "bootstrap-admin".parse()?,
            token_hash: internal::token_hash(&self.snapshot, token.expose())
                .ok_or(BootError::TokenHashKey)?,
            previous: None,
            roles: vec![claviger_policy::ADMIN.parse()?],
            created_at: self.clock.now(),
            expires_at: None,
            disabled_at: None,
        };
        match self.write(FirstAdministrator(admin)).await {
            // Another node that starts at the same time was first.
            Ok(()) | Err(BootError::Ring(RingFailure::Storage(StoreError::Conflict))) => {}
            Err(error) => return Err(error),
        }
        self.bootstrapped = true;
        Ok(())
    }

    /// Fixes the issuer of the deployment, once.
    ///
    /// # Errors
    /// The database failed.
    pub async fn fix_issuer(&mut self, issuer: &str) -> Result<(), BootError> {
        if self.issuer.is_none() {
            let turn = self.writer.database.take_turn(&self.writer.keychain).await?;
            self.issuer = Some(turn.fix_issuer(&self.writer.keychain, issuer).await?);
        }
        Ok(())
    }

    /// What belongs to the end of a restore: what ended after the backup ends again, and every key that encrypts gets another version, since
    /// nobody knows how often those of before were used. The deployment may be served, held back, when this returns.
    ///
    /// Can be cut off anywhere and run again.
    ///
    /// # Errors
    /// See [`BootError`].
    pub async fn complete_restore(&mut self, replay: &Replay, node: &str) -> Result<Completed, BootError> {
        let mut done = Completed::default();
        for (kid, (name, version, fate)) in &replay.versions {
            match self.end_again(kid, (name, *version), *fate).await? {
                true => done.versions += 1,
                false => done.unknown += 1,
            }
        }
        for id in &replay.api_keys {
            match self.tried(ApiKeyCommand::Delete { id: *id }, "replay").await? {
                true => done.api_keys += 1,
                false => done.unknown += 1,
            }
        }
        for id in replay.devices.iter().filter_map(|id| id.parse().ok()) {
            match self.tried(DeviceCommand::Remove { id }, "replay").await? {
                true => done.devices += 1,
                false => done.unknown += 1,
            }
        }
        let now = self.clock.now();
        let (database, keychain) = (self.writer.database.clone(), Arc::clone(&self.writer.keychain));
        let mut live: Vec<Revocation> = Vec::new();
        for revocation in &replay.revocations {
            let is_over = revocation.expires_at <= now.timestamp_millis();
            if !is_over && !database.has_revocation(&keychain, revocation).await? {
                live.push(*revocation);
            }
        }
        database.revoke_again(&keychain, &live, now).await?;
        done.revocations = live.len();
        done.rotated = self.rotate_encryption().await?;
        database.complete_restore(&keychain).await?;
        tracing::info!(node, ?done, "the restore is complete");
        Ok(done)
    }

    /// A version is again what it had become; `false`: the backup does not know it, or has it so already.
    async fn end_again(
        &mut self,
        kid: &Kid,
        (name, version): (&str, u32),
        fate: Fate,
    ) -> Result<bool, BootError> {
        let (Ok(name), Ok(version)) = (KeyName::from_row(name), VersionNumber::new(version)) else {
            return Ok(false);
        };
        let Ok(key) = self.snapshot.ring().key(&name) else { return Ok(false) };
        let Some(record) = key.versions.get(&version).filter(|record| record.kid == *kid) else {
            return Ok(false);
        };
        let (key_type, bits, state) = (key.record.key_type, key.record.bits, record.state);
        let mut kinds = match fate {
            Fate::Suspended => vec![TransitionKind::Suspend],
            Fate::Compromised => vec![TransitionKind::Compromise(Exposure::Version)],
            // What was in use at the time of the backup had been replaced before it was destroyed.
            Fate::Destroyed if matches!(state, KeyState::Active | KeyState::PreActivation) => {
                vec![TransitionKind::Suspend, TransitionKind::Destroy]
            }
            Fate::Destroyed => vec![TransitionKind::Destroy],
        };
        let mut is_done = false;
        for kind in kinds.drain(..) {
            let mut spares = Vec::new();
            if kind != TransitionKind::Destroy {
                for _ in 0..2 {
                    spares.push(Material::generate(key_type, bits).map_err(RingFailure::from)?);
                }
            }
            let reason = "ended after the backup that was restored, by the audit log".to_owned();
            let transition = Transition { name: name.clone(), version, kind, reason };
            is_done = self.tried(Command::Transition(transition, spares), "replay").await?;
        }
        Ok(is_done)
    }

    /// Carries a command out; `false` when the ring has no use for it.
    async fn tried<C: RingCommand>(&mut self, command: C, request: &str) -> Result<bool, BootError> {
        match self.write_as(command, request).await {
            Ok(()) => Ok(true),
            Err(BootError::Ring(
                RingFailure::Refused(_) | RingFailure::Access(_) | RingFailure::Device(_),
            )) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Every key that encrypts goes on with its next version.
    async fn rotate_encryption(&mut self) -> Result<usize, BootError> {
        let since = self.restored_at()?;
        let due = |key: &&Arc<Key>| {
            let record = &key.record;
            matches!(record.key_type, KeyType::Aes256Gcm | KeyType::Fernet)
                && record.temporary.is_none()
                && record.delete_at.is_none()
                && record.deleted_at.is_none()
                && key.primary().is_some_and(|primary| primary.activated_at.is_none_or(|at| at < since))
        };
        let due: Vec<(KeyName, KeyType, Option<u32>)> = {
            let keys = self.snapshot.ring().keys().filter(due);
            keys.map(|key| (key.record.name.clone(), key.record.key_type, key.record.bits)).collect()
        };
        let mut rotated = 0;
        for (name, key_type, bits) in due {
            let spare = Material::generate(key_type, bits).map_err(RingFailure::from)?;
            let reason = Some("restored from a backup".to_owned());
            let rotate = Rotate { name, force: true, reason, expected: None };
            rotated +=
                usize::from(self.tried(Command::Rotate(rotate, Some(Box::new(spare))), "restore").await?);
        }
        Ok(rotated)
    }

    fn restored_at(&self) -> Result<Time, BootError> {
        Ok(self.snapshot.restored().map(|restored| restored.at).ok_or(StoreError::Conflict)?)
    }

    /// Closes the database, once nothing more is to be done with it.
    pub async fn close(self) {
        self.abandon().await;
        self.writer.database.close().await;
    }

    /// Takes the node out again, since it will not serve.
    pub async fn abandon(&self) {
        if let Err(error) = self.writer.database.leave(&self.row.boot_id).await {
            tracing::warn!(%error, "the node could not take itself out; it counts until it is stale");
        }
    }

    /// Starts the actors.
    #[must_use]
    pub fn start(self, redis: Option<RedisLink>, masters: MasterSettings) -> Started {
        let deployment = self.writer.keychain.deployment();
        let hints = redis.clone().map(|link| Hints::new(link, deployment));
        let node = self.writer.node.clone();
        // Without the key nobody is recognised anyway.
        let addresses = internal::address_secret(&self.snapshot);
        let ring =
            KeyRingHandle::start(self.writer, self.snapshot, Arc::clone(&self.clock) as Arc<dyn Clock>);
        let clock = Arc::clone(&self.clock);
        let tokens = TokensHandle::start(ring.clone(), self.revocations, (clock, node.clone()));
        let known = (ring.clone(), tokens.clone(), Arc::clone(&self.held));
        let cluster = ClusterHandle::start(known, Arc::clone(&self.clock), self.row, hints);
        let known = (ring.clone(), cluster.clone());
        let attempts = redis.clone().zip(addresses);
        let attempts = attempts.map(|(link, secret)| SharedAttempts::new(link, deployment, &secret));
        let quotas = QuotaSource::new(cluster.clone(), redis.clone(), (deployment, addresses));
        let redis = redis.map(|link| (link, deployment));
        let told = (ring.clone(), &tokens, cluster.clone());
        let events = EventsHandle::start(told, Arc::clone(&self.clock), redis);
        let masters = MastersHandle::new(self.held, known, self.clock, node, masters);
        Started { ring, tokens, cluster, events, masters, attempts, quotas }
    }
}
