//! What the door puts on record.

use std::{
    net::IpAddr,
    sync::{
        PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use actix_web::{HttpResponse, web::Data};
use chrono::{DateTime, Utc};
use claviger_actors::alerts::KeyUse;
use claviger_actors::audit::{self, AuditRecord, AuditUnavailable, Flood, Subject};
use claviger_config::AuditLevel;
use claviger_policy::Permission;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    problem::{Code, Problem},
    state::{AppState, Arrival, Caller},
    table::{self, Access, Kind, ROUTES, Route},
};

/// How often counted failures and operations are put on record.
const TELL: Duration = Duration::from_secs(1);

/// A request that has been answered, but not yet to the caller.
pub(super) struct Answered<'a> {
    pub(super) arrival: &'a Arrival,
    pub(super) address: Option<IpAddr>,
    pub(super) began: Instant,
}

/// Nothing may be used while it can't be recorded; whoever only asks to change something is let in, since a change has its record in its
/// transaction.
///
/// # Errors
/// `audit_unavailable`.
pub(super) fn can_be(state: &AppState, route: &Route) -> Result<(), Problem> {
    if route.kind != Kind::Change && state.audit.is_stuck() { Err(unavailable()) } else { Ok(()) }
}

/// A key may not be used within a change either while a use could not be recorded.
///
/// # Errors
/// `audit_unavailable`.
pub(super) fn use_can_be(state: &AppState) -> Result<(), Problem> {
    if state.audit.is_writable() { Ok(()) } else { Err(unavailable()) }
}

fn unavailable() -> Problem {
    let detail = "the operation can't be recorded, so it is not answered; try again";
    Problem::new(Code::AuditUnavailable, detail)
}

/// Writes the audit record. Without one, a use or a look does not succeed; a change has its record in its transaction.
pub(super) async fn record(
    state: &AppState,
    answered: Answered<'_>,
    response: &HttpResponse,
) -> Option<Problem> {
    let Answered { arrival, address, began } = answered;
    let (route, caller) = (arrival.route(), arrival.caller());
    if route.access == Access::Public || cfg!(unaudited) {
        return None;
    }
    let status = response.status();
    if let (Kind::Use, true, Some(caller)) = (route.kind, status.is_success(), caller) {
        arrival.noted().look(|subject| used(state, route, caller, (subject, address)));
    }
    let is_notable = route.kind == Kind::Change || route.is_told() || !status.is_success();
    if state.audit_level == AuditLevel::Control && !is_notable {
        state.tally.count(route);
        return None;
    }
    let code = response.extensions().get::<Code>().map_or("ok", |code| code.as_str());
    // Whoever asks for too much would else fill the log with it.
    if (caller.is_none() || code == Code::RateLimited.as_str()) && !status.is_success() {
        let mut floods = state.floods.lock().unwrap_or_else(PoisonError::into_inner);
        if !floods.admit(Flood { address, code }, began) {
            return None;
        }
    }
    let append = arrival.noted().look(|subject| {
        let record = AuditRecord {
            ts: state.clock.now(),
            event: audit::event_of_outcome(route.event, code),
            operation: route.event,
            actor: caller.map_or("anonymous", |caller| caller.identity.name()),
            actor_id: caller.map(|caller| caller.identity.id()),
            address,
            subject,
            outcome: code,
            status: Some(status.as_u16()),
            request_id: arrival.id(),
            node: &state.node,
            epoch: state.ring.position().epoch.0,
            duration_us: micros(began.elapsed()),
            times: None,
        };
        if !status.is_success() || route.is_told() {
            // A change that was made has its record in its own transaction.
            keep(state, &record);
        }
        state.audit.append(&record, is_notable)
    });
    let written = append.await;
    if written.is_ok() || !status.is_success() || route.kind == Kind::Change {
        return None;
    }
    Some(unavailable())
}

/// Takes down who has used which key from where, for whoever looks for what is unusual.
fn used(state: &AppState, route: &Route, caller: &Caller, (subject, address): (&Subject, Option<IpAddr>)) {
    let Some(key) = &subject.key else { return };
    let items = subject.count.unwrap_or(1).saturating_sub(subject.failed.unwrap_or(0));
    state.alerts.used(KeyUse {
        key,
        principal: caller.identity.id(),
        address,
        items: u64::try_from(items).unwrap_or(u64::MAX),
        decrypts: route.access == Access::Needs(Permission::KeyDecrypt),
    });
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Uses and looks that are counted, not recorded, by operation.
pub struct Tally(Vec<AtomicU64>);

impl Default for Tally {
    fn default() -> Self {
        Self(ROUTES.iter().map(|_| AtomicU64::new(0)).collect())
    }
}

impl Tally {
    fn count(&self, route: &'static Route) {
        if let Some(count) = self.0.get(table::place(route)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What has been counted since the last time.
    fn take(&self) -> Map<String, Value> {
        let mut counts = Map::new();
        for (route, count) in ROUTES.iter().zip(&self.0) {
            let count = count.swap(0, Ordering::Relaxed);
            if count > 0 {
                let sum = counts.get(route.event).and_then(Value::as_u64).unwrap_or(0) + count;
                counts.insert(route.event.to_owned(), sum.into());
            }
        }
        counts
    }
}

/// Operations of about a second.
#[derive(Serialize)]
struct Counted<'a> {
    ts: DateTime<Utc>,
    event: &'a str,
    counts: Map<String, Value>,
    node: &'a str,
}

/// Puts on record what was only counted, every second.
pub async fn tell_counted(state: Data<AppState>) {
    let mut tick = actix_web::rt::time::interval(TELL);
    loop {
        tick.tick().await;
        tell_once(&state).await;
    }
}

/// As [`tell_counted`], once.
pub async fn tell_once(state: &AppState) {
    let over = state.floods.lock().unwrap_or_else(PoisonError::into_inner).over(Instant::now());
    for (flood, times) in over {
        let told = tell_flood(state, flood, times).await;
        if told.is_err() {
            tracing::warn!(code = flood.code, times, "failures could not be recorded");
        }
    }
    let counts = state.tally.take();
    if !counts.is_empty() {
        let ts = state.clock.now();
        let counted = Counted { ts, event: "operations_counted", counts, node: &state.node };
        if state.audit.append(&counted, false).await.is_err() {
            tracing::warn!(counts = ?counted.counts, "counted operations could not be recorded");
        }
    }
}

async fn tell_flood(state: &AppState, flood: Flood, times: u64) -> Result<(), AuditUnavailable> {
    let record = AuditRecord {
        ts: state.clock.now(),
        event: audit::event_of_outcome("", flood.code),
        operation: "",
        actor: "anonymous",
        actor_id: None,
        address: flood.address,
        subject: &Subject::default(),
        outcome: flood.code,
        status: None,
        request_id: "",
        node: &state.node,
        epoch: state.ring.snapshot().epoch.0,
        duration_us: 0,
        times: Some(times),
    };
    keep(state, &record);
    state.audit.append(&record, true).await
}

/// In the database too, for whoever asks any node.
pub(super) fn keep(state: &AppState, record: &AuditRecord<'_>) {
    match serde_json::to_string(record) {
        Ok(record) => state.keeper.record(record),
        Err(error) => tracing::error!(%error, "a record can't be written"),
    }
}
