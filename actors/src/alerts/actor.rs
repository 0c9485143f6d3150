//! The actor that looks, on a thread of its own: no flood of requests delays it, and nothing that it waits for delays a request.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use actix::prelude::*;
use chrono::TimeDelta;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use super::{
    alone::Alone,
    core::{About, Judge},
    figures::Watched,
    gather::Gatherer,
    handle::{AlertError, Shared},
    record::{AlertRecord, Doer},
};
use crate::{
    clock::uptime,
    events::{Event, EventName},
    keyring::record::Time,
    store::{Database, Sighting},
};

/// How often a node that sees something goes on saying so. Others believe it three times as long.
const RENEWAL: Duration = Duration::from_secs(15);
/// Alerts that were over longer ago are not read again.
const RECENT: TimeDelta = TimeDelta::minutes(10);
/// Longest wait for a record in the log; the database has it already.
const RECORD_MAX: Duration = Duration::from_secs(2);

pub(super) struct AlertMonitor {
    pub(super) shared: Arc<Shared>,
    pub(super) watched: Option<Box<dyn Watched>>,
}

impl Actor for AlertMonitor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let Some(watched) = self.watched.take() else { return };
        let watch = Watch::new(Arc::clone(&self.shared), watched);
        context.spawn(watch.run().into_actor(self));
    }
}

struct Watch {
    shared: Arc<Shared>,
    watched: Box<dyn Watched>,
    gatherer: Gatherer,
    judge: Judge,
    alone: Alone,
    /// What this node has said that it sees, and when.
    said: BTreeMap<About, Duration>,
    /// When it was last looked for what nobody sees any more.
    settled: Duration,
    /// What nobody had taken up when that was last looked at, and when that was.
    waiting: BTreeSet<Uuid>,
    escalated: Duration,
}

impl Watch {
    fn new(shared: Arc<Shared>, watched: Box<dyn Watched>) -> Self {
        let gatherer = Gatherer::new(shared.settings.window);
        Self {
            shared,
            watched,
            gatherer,
            judge: Judge::default(),
            alone: Alone::default(),
            said: BTreeMap::new(),
            settled: Duration::ZERO,
            waiting: BTreeSet::new(),
            escalated: Duration::ZERO,
        }
    }

    async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut changes = shared.cluster.alerts();
        let mut tick = tokio::time::interval(shared.settings.tick);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_behind = true;
        loop {
            if is_behind && let Err(error) = follow(&shared).await {
                tracing::debug!(%error, "alerts are read again");
            }
            is_behind = tokio::select! {
                changed = changes.changed() => match changed {
                    Ok(()) => true,
                    Err(_) => return,
                },
                () = shared.wake.notified() => true,
                _ = tick.tick() => {
                    self.round().await;
                    !shared.known().is_read
                }
            };
        }
    }

    async fn round(&mut self) {
        let now = uptime();
        let looked = self.shared.clock.now();
        let sample = self.watched.look();
        let round = self.gatherer.round(&self.shared, &sample, now).await;
        self.judge.observe(&self.shared.settings.rules, &round.measured, round.figures, now);
        self.alone.look(&self.shared, now);
        // What is in other hands is not believed, and what is behind the database does not know.
        let shared = &self.shared;
        if shared.ring.shuts_out(&shared.scribe.node) || shared.ring.is_rewound() {
            return;
        }
        if let Err(error) = self.say(now, looked).await {
            tracing::warn!(%error, "what this node sees was not said and will be tried again");
        }
    }

    /// Says what it sees, and no longer what it does not.
    async fn say(&mut self, now: Duration, looked: Time) -> Result<(), AlertError> {
        let open: BTreeSet<About> = {
            let known = self.shared.known();
            known.alerts.values().filter(|alert| alert.is_open()).map(AlertRecord::about).collect()
        };
        let mut has_changed = false;
        let raised: BTreeMap<About, (u64, String)> = self
            .judge
            .raised()
            .map(|(about, standing)| (about.clone(), (standing.value, standing.summary.clone())))
            .collect();
        for (about, (value, summary)) in &raised {
            let is_said = self.said.get(about).is_some_and(|at| now.saturating_sub(*at) < RENEWAL);
            if is_said && open.contains(about) {
                continue;
            }
            has_changed |= self.sight((about, *value, summary), looked).await?;
            self.said.insert(about.clone(), now);
        }
        let gone: Vec<About> =
            self.said.keys().filter(|about| !raised.contains_key(*about)).cloned().collect();
        let is_time = !open.is_empty() && now.saturating_sub(self.settled) >= RENEWAL;
        if !gone.is_empty() || is_time {
            let seen: Vec<About> = raised.keys().cloned().collect();
            has_changed |= self.settle(gone, seen).await?;
            self.settled = now;
            self.said.retain(|about, _| raised.contains_key(about));
        }
        has_changed |= self.escalate(now).await?;
        if has_changed {
            follow(&self.shared).await?;
        }
        Ok(())
    }

    /// Has further people told of what nobody has taken up. What is kept quiet is looked at again now and then.
    async fn escalate(&mut self, now: Duration) -> Result<bool, AlertError> {
        let shared = &self.shared;
        let Some(after) = shared.settings.escalate_after else { return Ok(false) };
        let time = shared.clock.now();
        let before = time - TimeDelta::from_std(after).unwrap_or(TimeDelta::days(36_500));
        let waiting: BTreeSet<Uuid> = {
            let known = shared.known();
            known.alerts.values().filter(|alert| alert.waits(before)).map(|alert| alert.id).collect()
        };
        if waiting.is_empty() || self.waiting == waiting && now.saturating_sub(self.escalated) < RENEWAL {
            return Ok(false);
        }
        let (keychain, scribe) = (shared.keychain(), shared.scribe.clone());
        let doer = Doer::monitor(shared.ring.snapshot().epoch.0);
        let change = move |database: Database| async move {
            database.escalate_alerts((&keychain, &scribe), before, &doer, time).await
        };
        let escalated = shared.ask(change).await?;
        for alert in &escalated {
            tracing::warn!(
                rule = alert.rule.as_str(),
                subject = alert.subject,
                "nobody has taken up an alert"
            );
            self.record("alert.escalated", alert).await;
        }
        (self.waiting, self.escalated) = (waiting, now);
        Ok(!escalated.is_empty())
    }

    async fn sight(
        &self,
        (about, value, summary): (&About, u64, &str),
        looked: Time,
    ) -> Result<bool, AlertError> {
        let shared = &self.shared;
        let (keychain, scribe) = (shared.keychain(), shared.scribe.clone());
        let doer = Doer::monitor(shared.ring.snapshot().epoch.0);
        let sighting = Sighting {
            alert: AlertRecord {
                id: Uuid::now_v7(),
                rule: about.0,
                subject: about.1.clone(),
                severity: shared.settings.rules.of(about.0).severity,
                summary: summary.to_owned(),
                value,
                raised_by: scribe.node.clone(),
                raised_at: looked,
                acknowledged: None,
                escalated_at: None,
                cleared_at: None,
            },
        };
        let change = move |database: Database| async move {
            database.sight_alert((&keychain, &scribe), sighting, &doer).await
        };
        let raised = shared.ask(change).await?;
        if let Some(alert) = &raised {
            tracing::warn!(
                rule = alert.rule.as_str(),
                subject = alert.subject,
                severity = alert.severity.as_str(),
                summary = alert.summary,
                "alert raised"
            );
            self.record("alert.raised", alert).await;
        }
        Ok(raised.is_some())
    }

    async fn settle(&self, gone: Vec<About>, seen: Vec<About>) -> Result<bool, AlertError> {
        let shared = &self.shared;
        let (keychain, scribe) = (shared.keychain(), shared.scribe.clone());
        let (doer, now) = (Doer::monitor(shared.ring.snapshot().epoch.0), shared.clock.now());
        let change = move |database: Database| async move {
            database.settle_alerts((&keychain, &scribe), (&gone, &seen), &doer, now).await
        };
        let cleared = shared.ask(change).await?;
        for alert in &cleared {
            tracing::info!(rule = alert.rule.as_str(), subject = alert.subject, "alert cleared");
            self.record("alert.cleared", alert).await;
        }
        Ok(!cleared.is_empty())
    }

    /// In the log of this node too. A log that can't be written holds nothing up: it is an alert itself.
    async fn record(&self, operation: &str, alert: &AlertRecord) {
        let shared = &self.shared;
        let doer = Doer::monitor(shared.ring.snapshot().epoch.0);
        let text = shared.scribe.record(operation, &doer, alert, shared.clock.now());
        let Ok(record) = serde_json::from_str::<serde_json::Value>(&text) else { return };
        let written = tokio::time::timeout(RECORD_MAX, shared.audit.append(&record, true)).await;
        if !matches!(written, Ok(Ok(_))) {
            tracing::warn!(operation, "an alert is recorded in the database only");
        }
    }
}

/// Reads what there is, and tells the subscribers of this node what has come and gone: every node does, since none hears the others' announcements.
async fn follow(shared: &Shared) -> Result<(), AlertError> {
    let (keychain, since) = (shared.keychain(), shared.clock.now() - RECENT);
    let read = move |database: Database| async move { database.standing_alerts(&keychain, since).await };
    let alerts = shared.ask(read).await?;
    let mut told = Vec::new();
    {
        let mut known = shared.known();
        for alert in alerts.iter().filter(|_| known.is_read) {
            match known.alerts.get(&alert.id) {
                None => {
                    told.push((EventName::AlertRaised, alert));
                    told.extend((!alert.is_open()).then_some((EventName::AlertCleared, alert)));
                }
                Some(before) if before.is_open() && !alert.is_open() => {
                    told.push((EventName::AlertCleared, alert));
                }
                Some(_) => {}
            }
        }
        let kept = alerts.iter().map(|alert| (alert.id, alert.clone()));
        known.alerts = kept.collect();
        known.is_read = true;
    }
    for (name, alert) in told {
        shared.events.announce(Event::announced(name, None, &shared.scribe.told(alert)));
    }
    Ok(())
}
