//! A node that is cut off from the database tells people by itself, since nothing can be raised there: the one alert that is told by every node that it
//! concerns, and that no list has.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use uuid::Uuid;

use super::{
    courier::{Deliver, Parcel, TRY_MAX},
    handle::Shared,
    record::AlertRecord,
    routing::Kind,
    rule::Rule,
};

/// Pause between two tries.
const AGAIN: Duration = Duration::from_secs(60);

/// Whether the node is cut off, and who knows.
#[derive(Default)]
pub(super) struct Alone {
    /// What is told.
    alert: Option<AlertRecord>,
    /// Channels that have taken it.
    told: Arc<Mutex<BTreeSet<String>>>,
    tried: Duration,
}

impl Alone {
    /// Looks whether this node is cut off for so long that it would be an alert.
    pub(super) fn look(&mut self, shared: &Shared, now: Duration) {
        let Some(deliver) = shared.deliver.get() else { return };
        let limits = shared.settings.rules.of(Rule::Staleness);
        let age = shared.ring.snapshot().confirmed().age();
        let patience = shared.settings.max_staleness.as_millis().max(1);
        let percent = u64::try_from(age.as_millis().saturating_mul(100) / patience).unwrap_or(u64::MAX);
        let is_cut_off = limits.is_on && percent > limits.raise && !shared.cluster.figures().database;
        match &self.alert {
            None if !is_cut_off => {}
            None => {
                let node = &shared.scribe.node;
                let summary = format!(
                    "{node} can't reach the database for {} s, so that no alert can be raised there; it refuses work after {} s",
                    age.as_secs(),
                    shared.settings.max_staleness.as_secs()
                );
                tracing::error!(summary, "people are told without the database");
                self.alert = Some(AlertRecord {
                    id: Uuid::now_v7(),
                    rule: Rule::Staleness,
                    subject: node.clone(),
                    severity: limits.severity,
                    summary,
                    value: percent,
                    raised_by: node.clone(),
                    raised_at: shared.clock.now(),
                    acknowledged: None,
                    escalated_at: None,
                    cleared_at: None,
                });
                self.told = Arc::default();
                self.tell(shared, deliver, now);
            }
            Some(_) if is_cut_off => {
                if now.saturating_sub(self.tried) >= AGAIN {
                    self.tell(shared, deliver, now);
                }
            }
            Some(_) if percent > limits.clear => {}
            Some(alert) => {
                let alert = AlertRecord { cleared_at: Some(shared.clock.now()), ..alert.clone() };
                let told = self.told.lock().unwrap_or_else(PoisonError::into_inner).clone();
                for channel in told {
                    send(shared, deliver, (Kind::Cleared, &alert), channel, Arc::default());
                }
                self.alert = None;
            }
        }
    }

    /// Tells those who do not know yet.
    fn tell(&mut self, shared: &Shared, deliver: &Arc<dyn Deliver>, now: Duration) {
        let Some(alert) = &self.alert else { return };
        self.tried = now;
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for channel in shared.scribe.routing.of(Kind::Raised, alert) {
            if !told.contains(channel) {
                send(shared, deliver, (Kind::Raised, alert), channel.to_owned(), Arc::clone(&self.told));
            }
        }
    }
}

/// Nobody waits for it.
fn send(
    shared: &Shared,
    deliver: &Arc<dyn Deliver>,
    (kind, alert): (Kind, &AlertRecord),
    channel: String,
    told: Arc<Mutex<BTreeSet<String>>>,
) {
    let Ok(body) = serde_json::to_string(&shared.scribe.told(alert)) else { return };
    let (id, about, made_at) = (Uuid::now_v7(), alert.id, shared.clock.now());
    let parcel = Parcel { id, about, kind, made_at, body, attempts: 0 };
    let deliver = Arc::clone(deliver);
    actix::spawn(async move {
        match tokio::time::timeout(TRY_MAX, deliver.deliver(&channel, &parcel)).await {
            Ok(Ok(())) => {
                told.lock().unwrap_or_else(PoisonError::into_inner).insert(channel);
            }
            Ok(Err(error)) => tracing::warn!(channel, %error, "people were not told"),
            Err(_late) => tracing::warn!(channel, "people were not told in time"),
        }
    });
}
