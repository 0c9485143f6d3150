//! From a database to a running ring.
//!
//! Every step can be cut off and run again: what is there is left alone, what is missing is made.

use std::{sync::Arc, time::Duration};

use claviger_crypto::{material::Material, secret::SecretBytes};
use claviger_entity::{KeyName, KeyType, Usage};
use uuid::Uuid;

use super::{
    KeyRingHandle,
    actor::{ChangeContext, RingFailure},
    command::{FirstAdministrator, RingCommand},
    core::{Command, CreateKey, RingError},
    internal,
    snapshot::Snapshot,
    writer::{Writer, Written, snapshot},
};
use crate::{
    access::PrincipalRecord,
    attempts::SharedAttempts,
    clock::{Clock, ClusterClock, uptime},
    cluster::{ClusterHandle, Hints, RedisLink},
    events::EventsHandle,
    masters::{GivenMasters, Held, MasterSettings, MastersHandle},
    store::{Database, NodeRow, StoreError},
    tokens::{Loaded, TokensHandle},
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
    let asked = uptime();
    if let Some(now) = database.server_clock().await? {
        clock.set(now, asked, uptime());
    }
    let deployment = database.open_deployment(&masters.keys, clock.now()).await?;
    let keychain = Arc::new(deployment.keychain);
    // First it counts, then it reads: whatever changes in between waits for it.
    let held = Arc::new(Held::new(masters, Arc::clone(&keychain)));
    let row = identity.row(clock.now().timestamp_millis(), &held);
    if database.is_shared() {
        database.enter(&row).await?;
    }
    let loaded = database.load_ring(&keychain).await?;
    let revocations = Loaded::read(&database, &keychain, &clock).await?;
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
        let context = ChangeContext::system("bootstrap");
        let round = self.writer.write(&self.snapshot, command, &context, &*self.clock).await?;
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
        let ring =
            KeyRingHandle::start(self.writer, self.snapshot, Arc::clone(&self.clock) as Arc<dyn Clock>);
        let clock = Arc::clone(&self.clock);
        let tokens = TokensHandle::start(ring.clone(), self.revocations, (clock, node.clone()));
        let known = (ring.clone(), tokens.clone(), Arc::clone(&self.held));
        let cluster = ClusterHandle::start(known, Arc::clone(&self.clock), self.row, hints);
        let known = (ring.clone(), cluster.clone());
        let attempts = redis.clone().map(|link| SharedAttempts::new(link, deployment));
        let redis = redis.map(|link| (link, deployment));
        let told = (ring.clone(), &tokens, cluster.clone());
        let events = EventsHandle::start(told, Arc::clone(&self.clock), redis);
        let masters = MastersHandle::new(self.held, known, self.clock, node, masters);
        Started { ring, tokens, cluster, events, masters, attempts }
    }
}
