//! The door to incidents.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use actix::{Actor as _, Arbiter};
use tokio::sync::{Notify as Wake, watch};
use uuid::Uuid;

use super::{
    Blast, Incident, IncidentError, IncidentSubject, Level, Mode, Notify, Principal, Target,
    actor::IncidentRunner,
    command::{About, IncidentCommand},
    core::{Move, Playbook, State},
    plan::{self, Asked},
};
use crate::{
    audit::AuditHandle,
    clock::Clock,
    cluster::ClusterHandle,
    events::EventsHandle,
    keyring::{Applied, ChangeContext, KeyRingHandle, RingFailure, Snapshot, record::Key},
    store::{Database, StoreError},
    tokens::TokensHandle,
};

/// Opens incidents, runs their playbooks, and shows what came of them. Cheap to clone.
#[derive(Clone)]
pub struct IncidentsHandle(pub(super) Arc<Shared>);

/// What incidents are run with.
#[derive(Debug, Clone)]
pub struct IncidentSettings {
    /// What follows from each level: high, medium, low.
    pub modes: [Mode; 3],
    /// Folder of this node's audit log.
    pub audit_dir: PathBuf,
    /// How long refresh tokens live.
    pub refresh_ttl: Duration,
    /// Name of this node.
    pub node: String,
}

pub(super) struct Shared {
    pub(super) ring: KeyRingHandle,
    pub(super) tokens: TokensHandle,
    pub(super) cluster: ClusterHandle,
    pub(super) events: EventsHandle,
    pub(super) audit: AuditHandle,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) notify: Arc<dyn Notify>,
    pub(super) settings: IncidentSettings,
    /// There is something to do now.
    pub(super) wake: Wake,
    /// Counts steps that this node has brought to an end.
    pub(super) moved: watch::Sender<u64>,
    /// Incidents whose uses this node has looked for since its start, and when they were approved.
    pub(super) gathered: Mutex<Vec<(Uuid, i64)>>,
}

/// What an incident is to be opened with.
#[derive(Debug, Clone)]
pub struct Opening {
    /// What is asked for.
    pub asked: Asked,
    /// How sure whoever opens it is.
    pub level: Level,
    /// Why.
    pub reason: String,
    /// `iss` of our own tokens.
    pub own_issuer: String,
}

impl IncidentsHandle {
    /// Starts the actor.
    #[must_use]
    pub fn start(
        (ring, tokens, cluster): (KeyRingHandle, TokensHandle, ClusterHandle),
        (events, audit): (EventsHandle, AuditHandle),
        clock: Arc<dyn Clock>,
        notify: Arc<dyn Notify>,
        settings: IncidentSettings,
    ) -> Self {
        let shared = Arc::new(Shared {
            ring,
            tokens,
            cluster,
            events,
            audit,
            clock,
            notify,
            settings,
            wake: Wake::new(),
            moved: watch::channel(0).0,
            gathered: Mutex::default(),
        });
        let runner = IncidentRunner(Arc::clone(&shared));
        IncidentRunner::start_in_arbiter(&Arbiter::new().handle(), |_| runner);
        Self(shared)
    }

    /// What opening would do and reach. Nothing is changed.
    ///
    /// # Errors
    /// There is no such thing, or the database failed.
    pub async fn dry_run(&self, opening: &Opening) -> Result<(Playbook, Blast), RingFailure> {
        let shared = &self.0;
        let (playbook, mut blast, key_ids, kids) = {
            let snapshot = shared.ring.snapshot();
            let (playbook, _) = plan::plan(&snapshot, &opening.asked, &opening.own_issuer)?;
            let keys = keys_of(&snapshot, &playbook);
            let blast = Blast::new(&snapshot, &opening.asked, &keys);
            let key_ids: Vec<Uuid> = keys.iter().map(|key| key.record.id).collect();
            let kids: Vec<String> =
                blast.versions.iter().map(|version| version.kid.as_str().to_owned()).collect();
            (playbook, blast, key_ids, kids)
        };
        let now = shared.clock.now();
        let count = |database: Database| async move {
            Ok((database.live_refresh(&key_ids, now).await?, database.stored_under(&kids).await?))
        };
        (blast.refresh_tokens, blast.stored_rows) = self.ask(count).await?;
        if let Target::Principal(text) = &opening.asked.target
            && let Principal::ApiKey(_) | Principal::Device(_) = Principal::of(text)
        {
            let since = opening.asked.since;
            let made = shared.made_by(text, since).await?;
            blast.dependents = made.iter().map(|id| id.simple().to_string()).collect();
        }
        Ok((playbook, blast))
    }

    /// Opens an incident; its playbook begins at once if its level says so.
    ///
    /// # Errors
    /// See [`RingFailure`].
    pub async fn open(
        &self,
        context: ChangeContext,
        opening: Opening,
    ) -> Result<Applied<IncidentSubject>, RingFailure> {
        let [high, medium, low] = self.0.settings.modes;
        let mode = match opening.level {
            Level::High => high,
            Level::Medium => medium,
            Level::Low => low,
        };
        let about = About {
            level: opening.level,
            mode,
            reason: opening.reason,
            by: context.actor.clone(),
            own_issuer: opening.own_issuer,
        };
        let command =
            IncidentCommand::Open { id: Uuid::now_v7(), asked: opening.asked, about: Box::new(about) };
        self.change(context, command).await
    }

    /// Runs the playbook of an incident that waits, or the steps of one that have failed.
    ///
    /// # Errors
    /// See [`RingFailure`].
    pub async fn approve(
        &self,
        context: ChangeContext,
        id: Uuid,
    ) -> Result<Applied<IncidentSubject>, RingFailure> {
        let by = context.actor.clone();
        self.change(context, IncidentCommand::Move { id, to: Move::Approve, by, step: None }).await
    }

    /// An incident is over: nothing is shut out by it any more.
    ///
    /// # Errors
    /// See [`RingFailure`].
    pub async fn close(
        &self,
        context: ChangeContext,
        id: Uuid,
    ) -> Result<Applied<IncidentSubject>, RingFailure> {
        let by = context.actor.clone();
        self.change(context, IncidentCommand::Move { id, to: Move::Close, by, step: None }).await
    }

    async fn change(
        &self,
        context: ChangeContext,
        command: IncidentCommand,
    ) -> Result<Applied<IncidentSubject>, RingFailure> {
        let applied = self.0.ring.apply(context, command).await?;
        self.0.wake.notify_one();
        Ok(applied)
    }

    /// Waits until an incident is not being dealt with any more, for a bounded time.
    pub async fn settled(&self, id: Uuid, longest: Duration) {
        let mut moved = self.0.moved.subscribe();
        let is_running = || self.0.ring.snapshot().standing().running().any(|record| record.id == id);
        let waiting = async {
            while is_running() {
                // Another node may run it: the ring says when it has ended.
                let _late = tokio::time::timeout(Duration::from_millis(100), moved.changed()).await;
            }
        };
        let _late = tokio::time::timeout(longest, waiting).await;
    }

    /// An incident with what came of it.
    ///
    /// # Errors
    /// The database failed, or the row was edited.
    pub async fn show(&self, id: Uuid) -> Result<Option<Incident>, RingFailure> {
        self.0.load(id).await.map_err(RingFailure::Storage)
    }

    /// Incidents that were opened before one, newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn list(&self, before: Option<Uuid>, limit: u64) -> Result<Vec<Incident>, RingFailure> {
        let keychain = Arc::clone(self.0.ring.snapshot().keychain());
        self.ask(|database| async move { database.incidents(&keychain, before, limit).await }).await
    }

    /// Stored rows that are still sealed under one of these versions.
    ///
    /// # Errors
    /// The database failed.
    pub async fn stored_under(&self, kids: Vec<String>) -> Result<u64, RingFailure> {
        self.ask(|database| async move { database.stored_under(&kids).await }).await
    }

    /// Nodes that may serve, whether or not they are shut out.
    ///
    /// # Errors
    /// The database failed.
    pub async fn live_nodes(&self) -> Result<Vec<String>, RingFailure> {
        self.0.live_nodes().await.map_err(RingFailure::Storage)
    }

    /// A node may be shut out: there is one of that name, and another one that is left to undo it.
    ///
    /// # Errors
    /// [`IncidentError`], or the database failed.
    pub async fn may_bar_node(&self, name: &str) -> Result<(), RingFailure> {
        let live = self.live_nodes().await?;
        if !live.iter().any(|node| node == name) {
            return Err(IncidentError::NoTarget("there is no live node of this name").into());
        }
        let snapshot = self.0.ring.snapshot();
        let is_left = |node: &&String| *node != name && !snapshot.standing().bars_node(node);
        if !live.iter().any(|node| is_left(&node)) {
            let sentence = "this is the last node that serves; start another one first";
            return Err(IncidentError::Conflict(sentence).into());
        }
        Ok(())
    }

    async fn ask<T, Q>(&self, question: impl FnOnce(Database) -> Q) -> Result<T, RingFailure>
    where
        T: Send + 'static,
        Q: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        self.0.ring.database().at_home(question).await.map_err(RingFailure::Storage)
    }
}

/// Keys that a playbook is about.
pub(super) fn keys_of<'a>(snapshot: &'a Snapshot, playbook: &Playbook) -> Vec<&'a Key> {
    let mut names: Vec<_> = playbook.0.iter().filter_map(|planned| planned.step.key()).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().filter_map(|name| snapshot.ring().key(name).ok()).map(AsRef::as_ref).collect()
}

impl Shared {
    /// An incident as the database has it.
    pub(super) async fn load(&self, id: Uuid) -> Result<Option<Incident>, StoreError> {
        let keychain = Arc::clone(self.ring.snapshot().keychain());
        let question = move |database: Database| async move { database.incident(&keychain, id).await };
        self.ring.database().at_home(question).await
    }

    pub(super) async fn live_nodes(&self) -> Result<Vec<String>, StoreError> {
        let view = self.cluster.view().await?;
        let mut live: Vec<String> =
            view.members.iter().filter(|node| node.is_live(view.now)).map(|node| node.name.clone()).collect();
        live.sort_unstable();
        live.dedup();
        Ok(live)
    }

    /// The incident's steps are to be done.
    pub(super) fn is_running(&self, id: Uuid) -> bool {
        self.ring.snapshot().standing().find(id).is_ok_and(|record| record.state == State::Running)
    }
}
