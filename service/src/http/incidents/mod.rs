//! Incidents: opened, approved, closed, and what came of them.

mod prevention;
mod view;

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, http::header, web::Data};
use chrono::{DateTime, Utc};
use claviger_actors::{
    audit::Subject,
    incidents::{Blast, Level, Opening, Target, plan::Asked},
    keyring::{RingFailure, core::Exposure},
};
use claviger_entity::KeyName;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::view::{
    IncidentSummary, IncidentView, IncidentsPage, NodeUsesView, PlannedView, ProgressView, ReportView,
    StepView,
};
use super::{
    body::{StrictJson, StrictQuery, segment},
    keys::note,
    page::{self, from_cursor, limit, to_cursor},
    problem::{Code, Problem},
    state::{AppState, Caller},
};

/// Longest time that an answer waits for the playbook; it goes on by itself.
const WAIT: Duration = Duration::from_secs(4);
/// Longest reason.
const REASON_MAX: usize = 1_024;
/// Longest name of a principal, an issuer or a node.
const NAME_MAX: usize = 1_024;

/// What has happened to what: exactly one of `key`, `principal`, `issuer`, `node` and `all`.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenIncident {
    /// A key is in other hands.
    #[serde(default)]
    key: Option<KeyName>,
    /// Somebody else acts as this principal: the id of an API key, the id of a device, or the `sub` of tokens.
    #[serde(default)]
    #[schema(max_length = 1024)]
    principal: Option<String>,
    /// Tokens with this `iss` are not to be believed. Our own issuer stands for all keys that make tokens.
    #[serde(default)]
    #[schema(max_length = 1024)]
    issuer: Option<String>,
    /// A node is in other hands.
    #[serde(default)]
    #[schema(max_length = 1024)]
    node: Option<String>,
    /// The whole store is in other hands: every key is, with its standby.
    #[serde(default)]
    all: Option<bool>,
    #[schema(min_length = 1, max_length = 1024)]
    reason: String,
    /// Nothing is changed; the answer says what would be done and reached.
    #[serde(default)]
    dry_run: bool,
    /// How sure the caller is: the settings `incidents.high`, `.medium` and `.low` say what follows.
    #[serde(default)]
    level: Level,
    /// Since when whoever did it may have had what they had. Of a key: versions that were the primary since are compromised too; the present one
    /// only unless given. Of a principal: API keys that it has made since are deleted; none unless given.
    #[serde(default)]
    since: Option<DateTime<Utc>>,
    /// `store`: the standby of the key leaked too, so it is replaced first.
    #[serde(default)]
    exposure: Exposure,
}

/// What opening an incident would do and reach.
#[derive(Serialize, utoipa::ToSchema)]
pub struct IncidentDryRun {
    /// Always `true`.
    dry_run: bool,
    /// The steps that would be done.
    steps: Vec<PlannedView>,
    blast_radius: Blast,
}

impl OpenIncident {
    fn opening(self, own_issuer: &str) -> Result<Opening, Problem> {
        let Self { key, principal, issuer, node, all, reason, dry_run: _, level, since, exposure } = self;
        let target = match (key, principal, issuer, node, all) {
            (Some(key), None, None, None, None) => Target::Key(key),
            (None, Some(principal), None, None, None) => Target::Principal(named_principal(principal)?),
            (None, None, Some(issuer), None, None) => Target::Issuer(bounded("issuer", issuer)?),
            (None, None, None, Some(node), None) => Target::Node(bounded("node", node)?),
            (None, None, None, None, Some(true)) => Target::All(true),
            _ => {
                let detail = "name one of key, principal, issuer, node and all: true";
                return Err(Problem::invalid(detail));
            }
        };
        let is_reason =
            !reason.trim().is_empty() && reason.len() <= REASON_MAX && !reason.chars().any(char::is_control);
        if !is_reason {
            return Err(Problem::invalid("reason must be 1 to 1024 bytes without control characters"));
        }
        let asked = Asked { target, since, exposure };
        Ok(Opening { asked, level, reason, own_issuer: own_issuer.to_owned() })
    }
}

/// It is kept and put on record, so it must not be what the principal shows at the door.
fn named_principal(text: String) -> Result<String, Problem> {
    let is_credential = ["clv_", "clvd_", "clvr_"].iter().any(|prefix| text.starts_with(prefix))
        || text.starts_with("eyJ") && text.contains('.');
    if is_credential {
        let detail =
            "principal must be an id or a sub, not the credential; claviger scan names what it is of";
        return Err(Problem::invalid(detail));
    }
    bounded("principal", text)
}

fn bounded(member: &str, text: String) -> Result<String, Problem> {
    let fits = (1..=NAME_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
    let rule = || Problem::invalid(format!("{member} must be 1 to 1024 bytes without control characters"));
    fits.then_some(text).ok_or_else(rule)
}

/// Opens an incident. By its level and the settings its playbook is run at once, or when somebody approves it, or never. The answer waits for its end
/// for some seconds; what is isolated is refused by every node long before. With `dry_run` nothing is changed.
///
/// # Errors
/// `key_not_found`, `not_found`, `invalid_request`; `key_state_conflict` when the last node that serves would be shut out, or too many incidents are not over.
#[utoipa::path(post, path = "/v1/incidents", tag = "operations", request_body = OpenIncident, responses(
    (status = 200, description = "With `dry_run`: what would be done", body = IncidentDryRun),
    (status = 201, description = "The incident", body = IncidentView, headers(("Location" = String, description = "The incident"))),
))]
pub async fn open(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    StrictJson(given): StrictJson<OpenIncident>,
) -> Result<HttpResponse, Problem> {
    let dry_run = given.dry_run;
    let opening = given.opening(state.issuer())?;
    match &opening.asked.target {
        Target::Key(name) => {
            let snapshot = state.snapshot_with(name).await?;
            snapshot.key(name)?;
            note(&request, Subject { key: Some(name.to_string()), ..Subject::default() });
        }
        Target::Node(name) => state.incidents.may_bar_node(name).await?,
        Target::Principal(_) => state.catch_up().await,
        Target::Issuer(_) | Target::All(_) => {}
    }
    if dry_run {
        let (playbook, blast_radius) = state.incidents.dry_run(&opening).await?;
        let steps = playbook.0.iter().enumerate().map(|(place, step)| PlannedView::new(place, step));
        let answer = IncidentDryRun { dry_run: true, steps: steps.collect(), blast_radius };
        return Ok(HttpResponse::Ok().json(answer));
    }
    let opened = state.incidents.open(caller.context(), opening).await?;
    let id = opened.subject.id;
    let mut response = HttpResponse::Created();
    response.insert_header((header::LOCATION, format!("/v1/incidents/{id}")));
    settled(&state, id, response).await
}

/// Shows an incident: what came of each step, and what is known of who used what it is about.
///
/// # Errors
/// `not_found`.
#[utoipa::path(get, path = "/v1/incidents/{id}", tag = "operations", params(("id" = Uuid, Path)), responses(
    (status = 200, description = "The incident", body = IncidentView),
))]
pub async fn show(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    shown(&state, named(&request)?, HttpResponse::Ok()).await
}

/// Lists incidents, newest first.
///
/// # Errors
/// `invalid_request`.
#[utoipa::path(get, path = "/v1/incidents", tag = "operations", params(page::Listing), responses(
    (status = 200, description = "A page", body = IncidentsPage),
))]
pub async fn list(
    state: Data<AppState>,
    StrictQuery(listing): StrictQuery<page::Listing>,
) -> Result<HttpResponse, Problem> {
    let limit = limit(listing.limit)?;
    let before: Option<Uuid> = listing.cursor.as_deref().map(from_cursor).transpose()?;
    // One more tells whether there is another page.
    let mut found = state.incidents.list(before, limit as u64 + 1).await?;
    let is_last = found.len() <= limit;
    found.truncate(limit);
    let last = found.last().map(|incident| to_cursor(&incident.record.id.to_string()));
    let items = found.iter().map(IncidentSummary::new).collect();
    Ok(HttpResponse::Ok().json(IncidentsPage { items, next_cursor: last.filter(|_| !is_last) }))
}

/// Runs the playbook of an incident that waits or is watched, or the steps of one that have failed.
///
/// # Errors
/// `not_found`; `key_state_conflict` when it is being dealt with, or over.
#[utoipa::path(post, path = "/v1/incidents/{id}/approve", tag = "operations", params(("id" = Uuid, Path)), responses(
    (status = 200, description = "The incident", body = IncidentView),
))]
pub async fn approve(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
) -> Result<HttpResponse, Problem> {
    let id = named(&request)?;
    state.catch_up().await;
    if let Ok(record) = state.ring.snapshot().standing().find(id).cloned()
        && let Target::Node(name) = &record.target
    {
        state.incidents.may_bar_node(name).await?;
    }
    over(&state, id, state.incidents.approve(caller.context(), id).await).await?;
    settled(&state, id, HttpResponse::Ok()).await
}

/// Says that an incident is over: whatever it shut out is let in again. What was compromised, revoked or deleted stays so.
///
/// # Errors
/// `not_found`; `key_state_conflict` while it is being dealt with, or when it was closed.
#[utoipa::path(post, path = "/v1/incidents/{id}/close", tag = "operations", params(("id" = Uuid, Path)), responses(
    (status = 200, description = "The incident", body = IncidentView),
))]
pub async fn close(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
) -> Result<HttpResponse, Problem> {
    let id = named(&request)?;
    state.catch_up().await;
    over(&state, id, state.incidents.close(caller.context(), id).await).await?;
    shown(&state, id, HttpResponse::Ok()).await
}

/// An incident that the ring does not know any more is over, and one that never was is not there.
async fn over<T>(state: &AppState, id: Uuid, changed: Result<T, RingFailure>) -> Result<T, Problem> {
    use claviger_actors::incidents::IncidentError::NotFound;
    if matches!(changed, Err(RingFailure::Incident(NotFound))) && state.incidents.show(id).await?.is_some() {
        return Err(Problem::new(Code::KeyStateConflict, "the incident is over"));
    }
    Ok(changed?)
}

fn named(request: &HttpRequest) -> Result<Uuid, Problem> {
    let missing = || Problem::new(Code::NotFound, "there is no such incident");
    segment(request, "id", |id| id.parse::<Uuid>().ok()).ok_or_else(missing)
}

async fn settled(
    state: &AppState,
    id: Uuid,
    response: actix_web::HttpResponseBuilder,
) -> Result<HttpResponse, Problem> {
    state.incidents.settled(id, WAIT).await;
    shown(state, id, response).await
}

async fn shown(
    state: &AppState,
    id: Uuid,
    mut response: actix_web::HttpResponseBuilder,
) -> Result<HttpResponse, Problem> {
    let missing = || Problem::new(Code::NotFound, "there is no such incident");
    let incident = state.incidents.show(id).await?.ok_or_else(missing)?;
    Ok(response.json(IncidentView::of(state, &incident).await?))
}
