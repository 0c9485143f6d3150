//! `POST /v1/keys/{name}/rotate`, and the answer that all changes of versions share.

use std::time::Instant;

use actix_web::{HttpRequest, HttpResponse, web::Data};
use chrono::{DateTime, Utc};
use claviger_actors::{
    audit::Subject,
    keyring::{Applied, core::Rotate},
};
use claviger_entity::{KeyName, Kid, VersionNumber};
use serde::{Deserialize, Serialize};

use super::note;
use crate::http::{
    body::{PathName, StrictJson},
    problem::Problem,
    state::{AppState, Caller},
};

/// How far a change must have spread before it is answered.
#[derive(Debug, Clone, Copy, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Consistency {
    /// Every live node has acknowledged it.
    #[default]
    Strong,
    /// It is committed.
    Eventual,
}

/// A rotation.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateRequest {
    /// Why; needed with `force`.
    #[serde(default)]
    #[schema(max_length = 1024)]
    reason: Option<String>,
    /// Do not wait for the standby's lead.
    #[serde(default)]
    force: bool,
    /// A single node is always consistent with itself.
    #[serde(default, rename = "consistency")]
    _consistency: Consistency,
}

/// A version after a change, and who knows of it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ChangeAnswer {
    version: VersionNumber,
    kid: Kid,
    epoch: u64,
    /// Nodes that use the change, this one included.
    acknowledged_by: Vec<String>,
    /// Nodes that do not yet.
    lagging: Vec<String>,
    /// When the last node uses it at the latest.
    effective_by: DateTime<Utc>,
    took_ms: u64,
}

impl ChangeAnswer {
    /// The answer of a single node: it is the only one, and it has the change.
    pub(super) fn new(state: &AppState, applied: Applied, began: Instant) -> Self {
        Self {
            version: applied.subject.version,
            kid: applied.subject.kid,
            epoch: applied.epoch.0,
            acknowledged_by: vec![state.node.clone()],
            lagging: Vec::new(),
            effective_by: applied.at,
            took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// Makes the standby the primary.
///
/// # Errors
/// `standby_too_young`, `key_state_conflict`, `key_not_found`, `invalid_request`.
#[utoipa::path(post, path = "/v1/keys/{name}/rotate", tag = "keys", params(("name" = KeyName, Path)), request_body = RotateRequest, responses(
    (status = 200, description = "The new primary", body = ChangeAnswer),
))]
pub async fn rotate(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    PathName(name): PathName,
    StrictJson(given): StrictJson<RotateRequest>,
) -> Result<HttpResponse, Problem> {
    let began = Instant::now();
    super::note_key(&request, &state, &name);
    state.ring.snapshot().key(&name)?;
    let reason = given.reason.map(bounded).transpose()?;
    let rotate = Rotate { name, force: given.force, reason, expected: None };
    let applied = state.ring.rotate(caller.context(), rotate).await?;
    note(&request, subject(&applied));
    Ok(HttpResponse::Ok().json(ChangeAnswer::new(&state, applied, began)))
}

/// What the audit record says of a change.
pub(super) fn subject(applied: &Applied) -> Subject {
    Subject {
        key: Some(applied.subject.name.as_str().to_owned()),
        version: Some(applied.subject.version.number()),
        kid: Some(applied.subject.kid.as_str().to_owned()),
        ..Subject::default()
    }
}

/// Reasons go into rows and logs.
pub(super) fn bounded(reason: String) -> Result<String, Problem> {
    if reason.len() <= 1_024 && !reason.chars().any(char::is_control) {
        Ok(reason)
    } else {
        Err(Problem::invalid("reason must be at most 1024 bytes without control characters"))
    }
}
