//! `POST /v1/keys/{name}/rotate`, and the answer that all changes of versions share.

use std::time::Instant;

use actix_web::{HttpRequest, HttpResponse, web::Data};
use chrono::{DateTime, TimeDelta, Utc};
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
    /// How far it must have spread before it is answered.
    #[serde(default)]
    consistency: Consistency,
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
    /// Waits for the other nodes, if the change is to be strong.
    pub(super) async fn new(
        state: &AppState,
        applied: Applied,
        began: Instant,
        consistency: Consistency,
    ) -> Self {
        // After the commit, by the database's clock: a node that asked the database just before goes on for that long at most.
        let committed = state.clock.now();
        let acknowledged = match consistency {
            Consistency::Strong => state.cluster.barrier(applied.epoch).await,
            Consistency::Eventual => state.cluster.count(applied.epoch).await,
        };
        let error = TimeDelta::milliseconds(state.cluster.clock_error_ms());
        let effective_by = if acknowledged.lagging.is_empty() {
            // The last of them may have acknowledged just now.
            state.clock.now()
        } else {
            committed + TimeDelta::milliseconds(acknowledged.longest) + error
        };
        Self {
            version: applied.subject.version,
            kid: applied.subject.kid,
            epoch: applied.epoch.0,
            acknowledged_by: acknowledged.by,
            lagging: acknowledged.lagging,
            effective_by,
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
    Ok(HttpResponse::Ok().json(ChangeAnswer::new(&state, applied, began, given.consistency).await))
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
