//! The door to alerts.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use actix::{Actor as _, Arbiter};
use async_trait::async_trait;
use chrono::TimeDelta;
use tokio::sync::{Notify as Wake, watch};
use uuid::Uuid;

use super::{
    actor::AlertMonitor,
    courier::{Courier, Deliver, Fate},
    figures::Watched,
    habits::{Habits, KeyUse},
    quiet::{Delivery, DeliveryState, RetryError, Silence, SilenceError},
    record::{AlertRecord, Doer, Matter, Scribe, Told},
    repeats,
    routing::{Kind, Routing},
    rule::{Rule, Rules, Severity},
};
use crate::{
    audit::AuditHandle,
    clock::{Clock, uptime},
    cluster::ClusterHandle,
    events::EventsHandle,
    incidents::{Notice, Notify},
    keyring::{ChangeContext, KeyRingHandle, record::Time},
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
    /// For how long a key must have been used here before anything about its use is unusual.
    pub learning: Duration,
    /// From where on something is an alert.
    pub rules: Rules,
    /// Where the runbook is.
    pub runbook: String,
    /// Who is told.
    pub routing: Routing,
    /// After this further people are told of what nobody has taken up; `None` = never.
    pub escalate_after: Option<Duration>,
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
    /// Whoever can tell people.
    pub(super) deliver: OnceLock<Arc<dyn Deliver>>,
    /// What keys are used for.
    pub(super) habits: Habits,
    /// Something was left to be told by this node.
    pub(super) left: watch::Sender<u64>,
    /// What came of telling.
    pub(super) tally: Tally,
    /// Alerts as this node has read them last.
    known: Mutex<Known>,
}

/// What came of telling over a channel, and how often.
pub type DeliveryFigures = Vec<(String, &'static str, u64)>;

/// What is counted.
#[derive(Default)]
pub(super) struct Tally(Mutex<BTreeMap<(String, &'static str), u64>>);

impl Tally {
    pub(super) fn count(&self, channel: &str, fate: &Fate) {
        let outcome = match fate {
            Fate::Done => "done",
            Fate::Dropped => "dropped",
            Fate::Later(_, Some(_)) => "failed",
            Fate::Later(_, None) => "silenced",
            Fate::Dead(_) => "dead",
        };
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counted.entry((channel.to_owned(), outcome)).or_default() += 1;
    }
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
    /// There is no silence of that kind.
    #[error("{0}")]
    Silence(#[from] SilenceError),
    /// A message is not told again.
    #[error("{0}")]
    Retry(#[from] RetryError),
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
            scribe,
            wake: Wake::new(),
            deliver: OnceLock::new(),
            habits: Habits::new(settings.window, settings.learning),
            settings,
            left: watch::channel(0).0,
            tally: Tally::default(),
            known: Mutex::default(),
        }))
    }

    /// Begins to look, on a thread of its own.
    pub fn watch(&self, watched: Box<dyn Watched>) {
        let monitor = AlertMonitor { shared: Arc::clone(&self.0), watched: Some(watched) };
        AlertMonitor::start_in_arbiter(&Arbiter::new().handle(), |_| monitor);
    }

    /// Begins to tell people, with a thread for each channel.
    pub fn tell(&self, deliver: &Arc<dyn Deliver>) {
        // Once, at the start.
        let _first = self.0.deliver.set(Arc::clone(deliver));
        for channel in self.0.settings.routing.all() {
            let courier = Courier {
                shared: Arc::clone(&self.0),
                deliver: Arc::clone(deliver),
                channel: channel.to_owned(),
            };
            Courier::start_in_arbiter(&Arbiter::new().handle(), |_| courier);
        }
    }

    /// What came of telling so far, on this node.
    #[must_use]
    pub fn delivery_figures(&self) -> DeliveryFigures {
        let counted = self.0.tally.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.iter().map(|((channel, outcome), count)| (channel.clone(), *outcome, *count)).collect()
    }

    /// Keeps alerts quiet: those of a rule, about something, or all of them.
    ///
    /// # Errors
    /// There are too many silences, or the database failed.
    pub async fn silence(
        &self,
        context: &ChangeContext,
        (rule, subject): (Option<Rule>, Option<String>),
        time: TimeDelta,
        reason: String,
    ) -> Result<Silence, AlertError> {
        let (keychain, scribe) = (self.0.keychain(), self.0.scribe.clone());
        let (doer, now) = (self.0.doer(context), self.0.clock.now());
        let made_by = doer.actor.clone();
        let silence =
            Silence { id: Uuid::now_v7(), rule, subject, reason, made_by, made_at: now, until: now + time };
        let made = silence.clone();
        let change = move |database: Database| async move {
            database.put_silence((&keychain, &scribe), &made, &doer).await
        };
        self.0.ask(change).await??;
        Ok(silence)
    }

    /// Silences that are in force, oldest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn silences(&self) -> Result<Vec<Silence>, AlertError> {
        let (keychain, now) = (self.0.keychain(), self.0.clock.now());
        let question = move |database: Database| async move { database.silences(&keychain, now).await };
        self.0.ask(question).await
    }

    /// Ends a silence; `false`: there is none.
    ///
    /// # Errors
    /// The database failed.
    pub async fn end_silence(&self, context: &ChangeContext, id: Uuid) -> Result<bool, AlertError> {
        let (keychain, scribe) = (self.0.keychain(), self.0.scribe.clone());
        let (doer, now) = (self.0.doer(context), self.0.clock.now());
        let change = move |database: Database| async move {
            database.end_silence((&keychain, &scribe), id, &doer, now).await
        };
        let ended = self.0.ask(change).await?;
        self.0.left.send_modify(|left| *left += 1);
        Ok(ended)
    }

    /// What was, or is to be, told, newest first: of one alert or incident, of one state, before one.
    ///
    /// # Errors
    /// The database failed.
    pub async fn deliveries(
        &self,
        wanted: (Option<Uuid>, Option<DeliveryState>),
        before: Option<Uuid>,
        limit: u64,
    ) -> Result<Vec<Delivery>, AlertError> {
        let question =
            move |database: Database| async move { database.deliveries(wanted, before, limit).await };
        self.0.ask(question).await
    }

    /// Has a message told that was given up. One that is to be told already, or was told, stays as it is.
    ///
    /// # Errors
    /// There is none, there is no use in it, there is no such channel, or the database failed.
    pub async fn retry(&self, context: &ChangeContext, id: Uuid) -> Result<Delivery, AlertError> {
        let (scribe, doer, now) = (self.0.scribe.clone(), self.0.doer(context), self.0.clock.now());
        let change =
            move |database: Database| async move { database.retry_parcel(&scribe, id, &doer, now).await };
        let delivery = self.0.ask(change).await??;
        self.0.left.send_modify(|left| *left += 1);
        Ok(delivery)
    }

    /// Alerts about something that were open at some time since a moment, newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn within(
        &self,
        matter: Matter,
        span: (Time, Option<Time>),
        limit: u64,
    ) -> Result<Vec<AlertRecord>, AlertError> {
        let keychain = self.0.keychain();
        let question = move |database: Database| async move {
            database.alerts_within(&keychain, &matter, span, limit).await
        };
        self.0.ask(question).await
    }

    /// A key was used. It takes no time, and nobody waits.
    pub fn used(&self, used: KeyUse<'_>) {
        let now = uptime();
        if let Some(items) = repeats::due(Arc::as_ptr(&self.0).addr(), &used, now) {
            self.0.habits.note(KeyUse { items, ..used }, now);
        }
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

/// Incidents are told over every channel, each once, whatever the playbook does again.
#[async_trait]
impl Notify for AlertsHandle {
    async fn tell(&self, notice: &Notice) -> Result<usize, String> {
        let channels: Vec<String> = self.0.settings.routing.all().map(str::to_owned).collect();
        let told = channels.len();
        if channels.is_empty() {
            return Ok(0);
        }
        let body = serde_json::to_string(notice).map_err(|_| "it can't be written".to_owned())?;
        let (keychain, now, incident) = (self.0.keychain(), self.0.clock.now(), notice.incident);
        let change = move |database: Database| async move {
            database.leave_parcels(&keychain, &channels, (Kind::Incident, incident, body), now).await
        };
        self.0.ask(change).await.map_err(|error| error.to_string())?;
        self.0.left.send_modify(|left| *left += 1);
        Ok(told)
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

    /// Which start of the node this is, for leases.
    pub(super) fn holder(&self) -> String {
        format!("{}/{}", self.settings.node, self.cluster.boot_id())
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
