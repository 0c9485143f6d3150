//! The door to alerts.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use actix::{Actor as _, Arbiter};
use tokio::sync::Notify as Wake;
use uuid::Uuid;

use super::{
    actor::AlertMonitor,
    figures::Watched,
    record::{AlertRecord, Doer, Scribe, Told},
    routing::Routing,
    rule::{Rule, Rules, Severity},
};
use crate::{
    audit::AuditHandle,
    clock::Clock,
    cluster::ClusterHandle,
    events::EventsHandle,
    keyring::{ChangeContext, KeyRingHandle},
    store::{Database, StoreError},
};

/// Longest time for one change.
const LATE: Duration = Duration::from_secs(5);

/// Raises alerts, and shows them. Cheap to clone.
#[derive(Clone)]
pub struct AlertsHandle(pub(super) Arc<Shared>);

/// How alerts are raised.
#[derive(Debug, Clone)]
pub struct AlertSettings {
    /// Name of this node.
    pub node: String,
    /// How often it looks.
    pub tick: Duration,
    /// Time over which failures and times of operations are counted.
    pub window: Duration,
    /// From where on something is an alert.
    pub rules: Rules,
    /// Where the runbook is.
    pub runbook: String,
    /// Who is told.
    pub routing: Routing,
    /// Longest time without word from the database for which this node goes on.
    pub max_staleness: Duration,
}

pub(super) struct Shared {
    pub(super) ring: KeyRingHandle,
    pub(super) cluster: ClusterHandle,
    pub(super) events: EventsHandle,
    pub(super) audit: AuditHandle,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) settings: AlertSettings,
    pub(super) scribe: Scribe,
    /// Alerts have changed by this node.
    pub(super) wake: Wake,
    /// Alerts as this node has read them last.
    known: Mutex<Known>,
}

/// Alerts that were read.
#[derive(Default)]
pub(super) struct Known {
    /// Open ones, and those that were over a short while ago.
    pub(super) alerts: BTreeMap<Uuid, AlertRecord>,
    /// They were read at all.
    pub(super) is_read: bool,
}

/// Why an alert can't be changed.
#[derive(Debug, thiserror::Error)]
pub enum AlertError {
    /// There is none of this id.
    #[error("there is no such alert")]
    NotFound,
    /// The database failed.
    #[error("the database does not answer; try again")]
    Storage(#[from] StoreError),
}

impl AlertsHandle {
    /// A monitor that does not look yet.
    #[must_use]
    pub fn new(
        (ring, cluster): (KeyRingHandle, ClusterHandle),
        (events, audit): (EventsHandle, AuditHandle),
        clock: Arc<dyn Clock>,
        settings: AlertSettings,
    ) -> Self {
        let scribe = Scribe {
            node: settings.node.clone(),
            runbook: settings.runbook.as_str().into(),
            routing: Arc::new(settings.routing.clone()),
        };
        Self(Arc::new(Shared {
            ring,
            cluster,
            events,
            audit,
            clock,
            settings,
            scribe,
            wake: Wake::new(),
            known: Mutex::default(),
        }))
    }

    /// Begins to look, on a thread of its own.
    pub fn watch(&self, watched: Box<dyn Watched>) {
        let monitor = AlertMonitor { shared: Arc::clone(&self.0), watched: Some(watched) };
        AlertMonitor::start_in_arbiter(&Arbiter::new().handle(), |_| monitor);
    }

    /// An alert, as it is told.
    #[must_use]
    pub fn told<'a>(&self, alert: &'a AlertRecord) -> Told<'a> {
        self.0.scribe.told(alert)
    }

    /// How many are open, by rule and severity; of every rule at least a zero.
    #[must_use]
    pub fn open(&self) -> Vec<(Rule, Severity, u64)> {
        let known = self.0.known();
        let counted = Rule::ALL.iter().map(|rule| {
            let severity = self.0.settings.rules.of(*rule).severity;
            let open = known.alerts.values().filter(|alert| alert.rule == *rule && alert.is_open()).count();
            (*rule, severity, open as u64)
        });
        counted.collect()
    }

    /// Alerts that were raised before one, newest first; only open ones, only those that are over, or both.
    ///
    /// # Errors
    /// The database failed.
    pub async fn list(
        &self,
        open: Option<bool>,
        before: Option<Uuid>,
        limit: u64,
    ) -> Result<Vec<AlertRecord>, AlertError> {
        let keychain = self.0.keychain();
        let question =
            move |database: Database| async move { database.alerts(&keychain, open, before, limit).await };
        self.0.ask(question).await
    }

    /// An alert by its id.
    ///
    /// # Errors
    /// There is none, or the database failed.
    pub async fn show(&self, id: Uuid) -> Result<AlertRecord, AlertError> {
        let keychain = self.0.keychain();
        let question = move |database: Database| async move { database.alert(&keychain, id).await };
        self.0.ask(question).await?.ok_or(AlertError::NotFound)
    }

    /// Somebody takes an alert up. The first one counts.
    ///
    /// # Errors
    /// There is none, or the database failed.
    pub async fn acknowledge(
        &self,
        context: &ChangeContext,
        id: Uuid,
        comment: Option<String>,
    ) -> Result<AlertRecord, AlertError> {
        let (keychain, scribe) = (self.0.keychain(), self.0.scribe.clone());
        let (doer, now) = (self.0.doer(context), self.0.clock.now());
        let change = move |database: Database| async move {
            database.acknowledge_alert((&keychain, &scribe), id, (&doer, comment), now).await
        };
        let alert = self.0.ask(change).await?.ok_or(AlertError::NotFound)?;
        self.0.wake.notify_one();
        Ok(alert)
    }
}

impl Shared {
    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn keychain(&self) -> Arc<crate::seal::Keychain> {
        Arc::clone(self.ring.snapshot().keychain())
    }

    pub(super) fn doer(&self, context: &ChangeContext) -> Doer {
        Doer {
            actor: context.actor.clone(),
            actor_id: context.actor_id.clone(),
            request_id: context.request_id.clone(),
            epoch: self.ring.snapshot().epoch.0,
        }
    }

    /// Asks the database, for a bounded time.
    pub(super) async fn ask<T, Q>(&self, question: impl FnOnce(Database) -> Q) -> Result<T, AlertError>
    where
        T: Send + 'static,
        Q: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let answer = tokio::time::timeout(LATE, self.ring.database().at_home(question)).await;
        Ok(answer.unwrap_or(Err(StoreError::Late))?)
    }
}
