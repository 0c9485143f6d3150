//! Signs of life. Public, so they say nothing of the inside.

use std::time::{Duration, Instant};

use actix_web::{HttpResponse, web::Data};
use chrono::SecondsFormat;
use claviger_actors::events::{Event, EventName};
use claviger_config::AuditLevel;
use serde_json::{Value, json};

use super::{
    problem::{Code, Problem},
    state::AppState,
};

/// How often the status is looked at for subscribers.
const LOOK: Duration = Duration::from_secs(1);

/// The process runs.
#[utoipa::path(get, path = "/healthz", tag = "operations", responses((status = 200, description = "The process runs", body = Object)))]
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

/// The node may be sent requests.
#[utoipa::path(get, path = "/readyz", tag = "operations", responses(
    (status = 200, description = "Ready", body = Object),
    (status = 503, description = "Not ready", body = super::problem::ProblemBody, content_type = "application/problem+json",
        headers(("Retry-After" = u64, description = "Seconds"))),
))]
pub async fn readyz(state: Data<AppState>) -> Result<HttpResponse, Problem> {
    if state.is_draining() {
        return Err(Problem::new(Code::Overloaded, "the node is leaving"));
    }
    state.is_current(state.ring.snapshot().confirmed())?;
    if state.ring.ping().await.is_err() {
        return Err(Problem::new(Code::Overloaded, "the database does not answer"));
    }
    let snapshot = state.ring.snapshot();
    let Some(restored) = snapshot.restored() else {
        return Ok(HttpResponse::Ok().json(json!({ "status": "ready" })));
    };
    // It is of use to whoever verifies and decrypts.
    let at = restored.at.to_rfc3339_opts(SecondsFormat::Secs, true);
    Ok(HttpResponse::Ok().json(json!({ "status": "quarantined", "restored_at": at })))
}

/// State of the node and of what it depends on.
#[utoipa::path(get, path = "/health", tag = "operations", responses(
    (status = 200, description = "Healthy or degraded", body = Object),
    (status = 503, description = "Something that is needed is down", body = Object),
))]
pub async fn health(state: Data<AppState>) -> HttpResponse {
    let began = Instant::now();
    let database = state.ring.ping().await.is_ok();
    let latency_ms = began.elapsed().as_secs_f64() * 1_000.0;
    let (status, body) = standing(&state, database, latency_ms);
    let mut response =
        if status == UNHEALTHY { HttpResponse::ServiceUnavailable() } else { HttpResponse::Ok() };
    response.json(body)
}

const HEALTHY: &str = "healthy";
const DEGRADED: &str = "degraded";
const UNHEALTHY: &str = "unhealthy";

/// How the node stands, and what of that follows from what it depends on.
fn standing(state: &AppState, database: bool, latency_ms: f64) -> (&'static str, Value) {
    let whole = state.ring.snapshot().quarantined().is_empty();
    let released = state.ring.snapshot().restored().is_none();
    let scheduler = state.rotation.is_alive();
    let current = state.is_current(state.ring.snapshot().confirmed()).is_ok();
    let audit = state.audit.is_writable();
    let is_full = state.audit_level == AuditLevel::Full && !cfg!(unaudited);
    let word = |good: bool, bad: &'static str| if good { HEALTHY } else { bad };
    let redis = state.cluster.redis();
    let status = match (
        database && current && audit,
        whole && released && scheduler && is_full && !state.keeper.is_short_of_room() && redis != Some(false),
    ) {
        (false, _) => UNHEALTHY,
        (true, false) => DEGRADED,
        (true, true) => HEALTHY,
    };
    let dependency =
        |good, bad, latency_ms: f64| json!({ "status": word(good, bad), "latency_ms": latency_ms });
    let mut dependencies = json!({
        "database": dependency(database, UNHEALTHY, latency_ms),
        "key_ring": dependency(whole, DEGRADED, 0.0),
        "rotation": dependency(scheduler, DEGRADED, 0.0),
        "word_from_database": dependency(current, UNHEALTHY, 0.0),
        "audit_log": match (audit, is_full && !state.keeper.is_short_of_room()) {
            (false, _) => dependency(false, UNHEALTHY, 0.0),
            (true, whole) => dependency(whole, DEGRADED, 0.0),
        },
    });
    if !released && let Some(dependencies) = dependencies.as_object_mut() {
        dependencies.insert("restore".to_owned(), dependency(false, DEGRADED, 0.0));
    }
    if let (Some(redis), Some(dependencies)) = (redis, dependencies.as_object_mut()) {
        dependencies.insert("redis".to_owned(), dependency(redis, DEGRADED, 0.0));
    }
    let body = json!({
        "status": status,
        "version": env!("CARGO_PKG_VERSION"),
        "timestamp": state.clock.now().to_rfc3339_opts(SecondsFormat::Millis, true),
        "dependencies": dependencies,
    });
    (status, body)
}

/// The same as the last look at the database has left it, without another one.
#[must_use]
pub fn standing_now(state: &AppState) -> (&'static str, Value) {
    let figures = state.cluster.figures();
    standing(state, figures.database, figures.database_latency.as_secs_f64() * 1_000.0)
}

/// Tells subscribers of this node whenever its status has changed.
pub async fn tell_changes(state: Data<AppState>) {
    let (mut told, _) = standing_now(&state);
    let mut tick = actix_web::rt::time::interval(LOOK);
    loop {
        tick.tick().await;
        let (status, mut body) = standing_now(&state);
        if status == told {
            continue;
        }
        told = status;
        if let Some(body) = body.as_object_mut() {
            body.insert("node".to_owned(), state.node.clone().into());
        }
        state.events.announce(Event::announced(EventName::Health, None, &body));
    }
}
