//! The door to the masters.

use std::{
    io,
    sync::{Arc, OnceLock},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use chrono::DateTime;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{Held, MasterSettings, core, keeper::Keeper};
use crate::{
    audit::{AuditHandle, event_of},
    clock::{Clock, ClusterClock},
    cluster::{ClusterHandle, Member, member},
    keyring::{ChangeContext, KeyRingHandle, record::Time},
    seal::{Kek, MasterKeys, SealError},
    store::{Database, SealView, StoreError, Turn},
};

/// Longest time for a rotation.
const ROTATE_MAX: Duration = Duration::from_secs(10);

/// Rotates masters and says how far that is. Cheap to clone.
#[derive(Clone)]
pub struct MastersHandle(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) held: Arc<Held>,
    pub(super) ring: KeyRingHandle,
    pub(super) cluster: ClusterHandle,
    pub(super) clock: Arc<ClusterClock>,
    pub(super) node: String,
    pub(super) settings: MasterSettings,
    pub(super) audit: OnceLock<AuditHandle>,
    /// What was read last.
    pub(super) latest: ArcSwapOption<SealView>,
    rotating: Mutex<()>,
}

/// Why a master was not rotated.
#[derive(Debug, thiserror::Error)]
pub enum MasterFailure {
    /// The newest one is in use.
    #[error(
        "the newest master is in use already; put a new one on the first line of seal.master_key on every node"
    )]
    NoOther,
    /// The rotation before is not done.
    #[error("the rotation before is still under way; see `claviger seal status`")]
    UnderWay,
    /// These nodes were not given it.
    #[error("live nodes lack the new master; start them with it on the first line of seal.master_key")]
    Lacking(Vec<String>),
    /// This node was not given the one in use.
    #[error("this node lacks the master in use")]
    Locked,
    /// The key file could not be written.
    #[error("the new master could not be kept in the key file; nothing was changed")]
    File(#[source] io::Error),
    /// The database failed.
    #[error("the database did not confirm the rotation; see `claviger seal status`")]
    Storage(#[source] StoreError),
}

impl From<StoreError> for MasterFailure {
    fn from(error: StoreError) -> Self {
        if matches!(error, StoreError::Seal(SealError::WrongMaster)) {
            Self::Locked
        } else {
            Self::Storage(error)
        }
    }
}

/// Masters and data-encryption keys as a node sees them.
#[derive(Debug, Clone)]
pub struct Status {
    /// What the database has.
    pub view: SealView,
    /// What stands for the master in use; `None` = this node lacks it.
    pub in_use: Option<String>,
    /// The service makes its own.
    pub generated: bool,
    /// When it is to be replaced.
    pub rotate_at: Option<Time>,
    /// That has passed.
    pub overdue: bool,
    /// The nodes.
    pub nodes: Vec<NodeMasters>,
    /// Now, by the database's clock.
    pub now: Time,
}

/// What a node was given.
#[derive(Debug, Clone)]
pub struct NodeMasters {
    /// Its name.
    pub name: String,
    /// It may serve.
    pub live: bool,
    /// Fingerprints, newest first.
    pub masters: Vec<String>,
    /// It knows of the last change of masters and data-encryption keys.
    pub current: bool,
}

impl MastersHandle {
    pub(crate) fn new(
        held: Arc<Held>,
        (ring, cluster): (KeyRingHandle, ClusterHandle),
        clock: Arc<ClusterClock>,
        node: String,
        settings: MasterSettings,
    ) -> Self {
        Self(Arc::new(Shared {
            held,
            ring,
            cluster,
            clock,
            node,
            settings,
            audit: OnceLock::new(),
            latest: ArcSwapOption::empty(),
            rotating: Mutex::default(),
        }))
    }

    /// Begins to move what is to be moved, and to keep the schedule.
    pub fn keep(&self, audit: AuditHandle) {
        // Once, at the start.
        let _first = self.0.audit.set(audit);
        Keeper::keep(Arc::clone(&self.0));
    }

    /// The ring names a master that this node was not given: it may answer nobody.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.0.held.keychain.is_locked()
    }

    /// What was read last, for whoever watches, and when the master is to be replaced.
    #[must_use]
    pub fn latest(&self) -> Option<(Arc<SealView>, Option<Time>)> {
        let view = self.0.latest.load_full()?;
        let rotate_at = self.0.rotate_at(&view);
        Some((view, rotate_at))
    }

    /// How things stand.
    ///
    /// # Errors
    /// The database failed.
    pub async fn status(&self) -> Result<Status, StoreError> {
        let shared = &self.0;
        let view = shared.look().await?;
        let members = shared.members().await?;
        let now = shared.clock.now();
        let rotate_at = shared.rotate_at(&view);
        let live = |member: &Member| member.is_live(now.timestamp_millis());
        let nodes = members.into_iter().map(|member| NodeMasters {
            live: live(&member),
            current: member.seal_revision >= Some(view.standing.revision),
            name: member.name,
            masters: member.masters,
        });
        Ok(Status {
            nodes: nodes.collect(),
            in_use: shared.in_use().await?.map(|(kek, _)| kek.fingerprint().to_owned()),
            generated: shared.held.renew.is_some(),
            rotate_at,
            overdue: rotate_at.is_some_and(|at| at <= now),
            view,
            now,
        })
    }

    /// Puts the newest master in use; where the service makes its own, a new one if need be. Rows move afterwards.
    ///
    /// # Errors
    /// See [`MasterFailure`].
    pub async fn rotate(&self, context: &ChangeContext) -> Result<(), MasterFailure> {
        let Ok(_rotating) = self.0.rotating.try_lock() else { return Err(MasterFailure::UnderWay) };
        let (shared, context) = (Arc::clone(&self.0), context.clone());
        // To its end, whoever gives up waiting for it.
        let work = move |database: Database| async move { Ok(shared.rotate(&database, &context).await) };
        let done = tokio::time::timeout(ROTATE_MAX, self.0.ring.database().at_home(work)).await;
        let record = done.map_err(|_| MasterFailure::Storage(StoreError::Late))??;
        self.0.tell(&record?).await;
        Ok(())
    }
}

impl Shared {
    pub(super) fn rotate_at(&self, view: &SealView) -> Option<Time> {
        let every = chrono::TimeDelta::from_std(self.settings.rotate_every?).ok()?;
        DateTime::from_timestamp_millis(view.master_since)?.checked_add_signed(every)
    }

    /// What the database has; kept for whoever watches.
    pub(super) async fn look(&self) -> Result<SealView, StoreError> {
        let keychain = Arc::clone(&self.held.keychain);
        let look = move |database: Database| async move { database.seal_view(&keychain).await };
        let view = self.ring.database().at_home(look).await?;
        self.latest.store(Some(Arc::new(view.clone())));
        Ok(view)
    }

    /// The nodes, with this one as it is now.
    pub(super) async fn members(&self) -> Result<Vec<Member>, StoreError> {
        Ok(self.cluster.view().await?.members)
    }

    pub(super) async fn in_use(
        &self,
    ) -> Result<Option<(Kek, claviger_crypto::secret::SecretBytes)>, StoreError> {
        let (keychain, masters) = (Arc::clone(&self.held.keychain), self.held.masters.load_full());
        let look = move |database: Database| async move { database.master_in_use(&keychain, &masters).await };
        match self.ring.database().at_home(look).await {
            Ok(found) => Ok(Some(found)),
            Err(StoreError::Seal(SealError::WrongMaster)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Answers with the record of it.
    async fn rotate(&self, database: &Database, context: &ChangeContext) -> Result<Value, MasterFailure> {
        let (keychain, masters) = (&self.held.keychain, self.held.masters.load_full());
        let (from, secret) = database.master_in_use(keychain, &masters).await?;
        let mut to = masters.newest(keychain.deployment()).map_err(StoreError::from)?;
        if to.fingerprint() == from.fingerprint() {
            let turn = database.take_turn(keychain).await?;
            if turn.is_rekeying(keychain).await? {
                return Err(MasterFailure::UnderWay);
            }
            drop(turn);
            to = self.renewed(secret.clone()).await?;
        }
        let turn = database.take_turn(keychain).await?;
        if !turn.is_under(&from) {
            // Another node was first.
            return Err(MasterFailure::UnderWay);
        }
        if turn.is_rekeying(keychain).await? {
            return Err(MasterFailure::UnderWay);
        }
        let now = self.clock.now();
        let lacking = self.lacking(&turn, &to, now).await?;
        if !lacking.is_empty() {
            return Err(MasterFailure::Lacking(lacking));
        }
        let more = json!({
            "master_version": turn.next_master(),
            "fingerprint": to.fingerprint(),
            "previous_fingerprint": from.fingerprint(),
        });
        let record = self.record("seal.rotate", context, now, more);
        turn.rotate_master(keychain, (&from, &secret, &to), (now, record.to_string())).await?;
        tracing::info!(fingerprint = to.fingerprint(), "another master is in use");
        self.held.adopt(database).await?;
        Ok(record)
    }

    async fn lacking(&self, turn: &Turn, to: &Kek, now: Time) -> Result<Vec<String>, MasterFailure> {
        let members: Vec<Member> = turn.nodes().await?.into_iter().map(member).collect();
        Ok(core::lacking(&members, to.fingerprint(), now.timestamp_millis()))
    }

    /// A new master where the service makes its own. It is in the file before it is in use.
    async fn renewed(&self, in_use: claviger_crypto::secret::SecretBytes) -> Result<Kek, MasterFailure> {
        let Some(renew) = self.held.renew.clone() else { return Err(MasterFailure::NoOther) };
        let before = in_use.clone();
        let renewed = tokio::task::spawn_blocking(move || renew(&before)).await;
        let new = renewed.map_err(io::Error::other).flatten().map_err(MasterFailure::File)?;
        let none = || MasterFailure::Storage(StoreError::MetaDamaged);
        let masters = MasterKeys::new(vec![new, in_use]).ok_or_else(none)?;
        let kek = masters.newest(self.held.keychain.deployment()).map_err(StoreError::from)?;
        self.held.masters.store(Arc::new(masters));
        Ok(kek)
    }

    pub(super) fn record(&self, operation: &str, context: &ChangeContext, at: Time, more: Value) -> Value {
        let mut record = json!({
            "ts": at,
            "event": event_of(operation),
            "operation": operation,
            "actor": context.actor,
            "actor_id": context.actor_id,
            "request_id": context.request_id,
            "node": self.node,
            "epoch": self.ring.position().epoch,
            "outcome": "ok",
        });
        if let (Value::Object(record), Value::Object(more)) = (&mut record, more) {
            record.extend(more);
        }
        record
    }

    /// Into the log; the database has it.
    pub(super) async fn tell(&self, record: &Value) {
        let Some(audit) = self.audit.get() else { return };
        if let Err(error) = audit.append(record, true).await {
            tracing::warn!(%error, "a change of masters is recorded in the database only");
        }
    }
}
