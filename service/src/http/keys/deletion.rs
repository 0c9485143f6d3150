//! Deletion after a waiting period, and its way back.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use claviger_entity::{HumanDuration, KeyName};
use serde::Deserialize;

use super::{after_change, note_key, shown, view::KeyView};
use crate::http::{
    body::{PathName, StrictQuery},
    problem::Problem,
    state::{AppState, Caller},
};

/// How long to wait.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Waiting {
    /// Waiting period; 7 d unless the service is configured otherwise.
    after: Option<String>,
}

/// Schedules the destruction of a key. Until then it verifies and decrypts, but does not sign or encrypt.
///
/// # Errors
/// `key_not_found`, `key_state_conflict`, `invalid_request`.
#[utoipa::path(delete, path = "/v1/keys/{name}", tag = "keys", params(("name" = KeyName, Path), Waiting), responses(
    (status = 200, description = "The key, with deletion_at", body = KeyView,
        headers(("ETag" = String, description = "For If-Match"))),
))]
pub async fn schedule(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    PathName(name): PathName,
    StrictQuery(waiting): StrictQuery<Waiting>,
) -> Result<HttpResponse, Problem> {
    note_key(&request, &state, &name);
    state.ring.snapshot().key(&name)?;
    let after = match waiting.after {
        Some(text) => duration(&text)?,
        None => state.deletion_waiting_period,
    };
    let applied = state.ring.schedule_deletion(caller.context(), name, after).await?;
    let (snapshot, key) = after_change(&state, &request, &applied.subject.name)?;
    Ok(shown(HttpResponse::Ok(), &key, &KeyView::new(&snapshot, &key)))
}

/// Cancels a scheduled destruction.
///
/// # Errors
/// `key_not_found`, `key_state_conflict`.
#[utoipa::path(post, path = "/v1/keys/{name}/restore", tag = "keys", params(("name" = KeyName, Path)), responses(
    (status = 200, description = "The key", body = KeyView,
        headers(("ETag" = String, description = "For If-Match"))),
))]
pub async fn restore(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    PathName(name): PathName,
) -> Result<HttpResponse, Problem> {
    note_key(&request, &state, &name);
    state.ring.snapshot().key(&name)?;
    let applied = state.ring.restore(caller.context(), name).await?;
    let (snapshot, key) = after_change(&state, &request, &applied.subject.name)?;
    Ok(shown(HttpResponse::Ok(), &key, &KeyView::new(&snapshot, &key)))
}

/// Humantime text or whole seconds.
fn duration(text: &str) -> Result<HumanDuration, Problem> {
    let seconds = text.parse::<u64>().map(|seconds| format!("{seconds}s"));
    seconds
        .as_deref()
        .unwrap_or(text)
        .parse()
        .map_err(|_| Problem::invalid("after must be a duration such as 7d, or whole seconds"))
}
