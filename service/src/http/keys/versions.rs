//! What an operator does to one version.

use std::time::Instant;

use actix_web::{HttpRequest, HttpResponse, web::Data};
use claviger_actors::keyring::core::{Exposure, Transition, TransitionKind};
use claviger_entity::{KeyName, VersionNumber};
use serde::Deserialize;

use super::{
    note, note_key,
    rotate::{ChangeAnswer, Consistency, bounded, subject},
};
use crate::http::{
    body::{PathName, PathVersion, StrictJson},
    problem::Problem,
    state::{AppState, Caller},
};

/// Why.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    #[schema(min_length = 1, max_length = 1024)]
    reason: String,
}

/// Why, and what leaked.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CompromiseRequest {
    #[schema(min_length = 1, max_length = 1024)]
    reason: String,
    /// `store`: the standby leaked too, so it is replaced.
    #[serde(default)]
    exposure: Exposure,
}

/// Changes a version and answers as a rotation does.
async fn change(
    request: HttpRequest,
    state: &AppState,
    caller: &Caller,
    (name, version): (KeyName, VersionNumber),
    kind: TransitionKind,
    reason: String,
) -> Result<HttpResponse, Problem> {
    let began = Instant::now();
    note_key(&request, state, &name);
    state.ring.snapshot().key(&name)?;
    let transition = Transition { name, version, kind, reason: bounded(reason)? };
    let applied = state.ring.transition(caller.context(), transition).await?;
    note(&request, subject(&applied));
    Ok(HttpResponse::Ok().json(ChangeAnswer::new(state, applied, began, Consistency::Strong).await))
}

/// Stops a version for now; a suspended primary's place is taken by the standby.
///
/// # Errors
/// `key_state_conflict`, `version_not_found`, `key_not_found`, `invalid_request`.
#[utoipa::path(post, path = "/v1/keys/{name}/versions/{version}/suspend", tag = "keys",
    params(("name" = KeyName, Path), ("version" = VersionNumber, Path)), request_body = Reason, responses(
    (status = 200, description = "The version", body = ChangeAnswer),
))]
pub async fn suspend(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    PathName(name): PathName,
    PathVersion(version): PathVersion,
    StrictJson(given): StrictJson<Reason>,
) -> Result<HttpResponse, Problem> {
    change(request, &state, &caller, (name, version), TransitionKind::Suspend, given.reason).await
}

/// Lets a suspended version verify and decrypt again.
///
/// # Errors
/// `key_state_conflict`, `version_not_found`, `key_not_found`, `invalid_request`.
#[utoipa::path(post, path = "/v1/keys/{name}/versions/{version}/resume", tag = "keys",
    params(("name" = KeyName, Path), ("version" = VersionNumber, Path)), request_body = Reason, responses(
    (status = 200, description = "The version", body = ChangeAnswer),
))]
pub async fn resume(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    PathName(name): PathName,
    PathVersion(version): PathVersion,
    StrictJson(given): StrictJson<Reason>,
) -> Result<HttpResponse, Problem> {
    change(request, &state, &caller, (name, version), TransitionKind::Resume, given.reason).await
}

/// Marks a version as being in other hands; the standby takes a primary's place at once.
///
/// # Errors
/// `key_state_conflict`, `version_not_found`, `key_not_found`, `invalid_request`.
#[utoipa::path(post, path = "/v1/keys/{name}/versions/{version}/compromise", tag = "keys",
    params(("name" = KeyName, Path), ("version" = VersionNumber, Path)), request_body = CompromiseRequest, responses(
    (status = 200, description = "The version", body = ChangeAnswer),
))]
pub async fn compromise(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    PathName(name): PathName,
    PathVersion(version): PathVersion,
    StrictJson(given): StrictJson<CompromiseRequest>,
) -> Result<HttpResponse, Problem> {
    change(
        request,
        &state,
        &caller,
        (name, version),
        TransitionKind::Compromise(given.exposure),
        given.reason,
    )
    .await
}

/// Erases a version's material for good. The primary and the standby can't be destroyed.
///
/// # Errors
/// `key_state_conflict`, `version_not_found`, `key_not_found`, `invalid_request`.
#[utoipa::path(post, path = "/v1/keys/{name}/versions/{version}/destroy", tag = "keys",
    params(("name" = KeyName, Path), ("version" = VersionNumber, Path)), request_body = Reason, responses(
    (status = 200, description = "The version", body = ChangeAnswer),
))]
pub async fn destroy(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    PathName(name): PathName,
    PathVersion(version): PathVersion,
    StrictJson(given): StrictJson<Reason>,
) -> Result<HttpResponse, Problem> {
    change(request, &state, &caller, (name, version), TransitionKind::Destroy, given.reason).await
}
