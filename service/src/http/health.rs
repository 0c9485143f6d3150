//! Signs of life. Public, so they say nothing of the inside.

use std::time::Instant;

use actix_web::{HttpResponse, web::Data};
use chrono::SecondsFormat;
use claviger_config::AuditLevel;
use serde_json::json;

use super::{
    problem::{Code, Problem},
    state::AppState,
};

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
    Ok(HttpResponse::Ok().json(json!({ "status": "ready" })))
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
    let whole = state.ring.snapshot().quarantined().is_empty();
    let scheduler = state.rotation.is_alive();
    let current = state.is_current(state.ring.snapshot().confirmed()).is_ok();
    let audit = state.audit.is_writable();
    let is_full = state.audit_level == AuditLevel::Full && !cfg!(feature = "unaudited");
    let word = |good: bool, bad: &'static str| if good { "healthy" } else { bad };
    let redis = state.cluster.redis();
    let status = match (
        database && current && audit,
        whole && scheduler && is_full && !state.keeper.is_short_of_room() && redis != Some(false),
    ) {
        (false, _) => "unhealthy",
        (true, false) => "degraded",
        (true, true) => "healthy",
    };
    let mut response =
        if database && current && audit { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    let dependency =
        |good, bad, latency_ms: f64| json!({ "status": word(good, bad), "latency_ms": latency_ms });
    let mut dependencies = json!({
        "database": dependency(database, "unhealthy", latency_ms),
        "key_ring": dependency(whole, "degraded", 0.0),
        "rotation": dependency(scheduler, "degraded", 0.0),
        "word_from_database": dependency(current, "unhealthy", 0.0),
        "audit_log": match (audit, is_full && !state.keeper.is_short_of_room()) {
            (false, _) => dependency(false, "unhealthy", 0.0),
            (true, whole) => dependency(whole, "degraded", 0.0),
        },
    });
    if let (Some(redis), Some(dependencies)) = (redis, dependencies.as_object_mut()) {
        dependencies.insert("redis".to_owned(), dependency(redis, "degraded", 0.0));
    }
    response.json(json!({
        "status": status,
        "version": env!("CARGO_PKG_VERSION"),
        "timestamp": state.clock.now().to_rfc3339_opts(SecondsFormat::Millis, true),
        "dependencies": dependencies,
    }))
}
