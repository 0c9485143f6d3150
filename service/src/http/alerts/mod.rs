//! Alerts: what is not as it should be, and who has taken it up.

pub mod deliveries;
pub mod silences;

use actix_web::{HttpRequest, HttpResponse, web::Data};
use chrono::{DateTime, Utc};
use claviger_actors::alerts::{AlertError, AlertRecord, Matter, Severity, Silence, silenced_until};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    body::{StrictJson, StrictQuery, segment},
    page::{from_cursor, limit, to_cursor},
    problem::{Code, Problem},
    state::{AppState, Caller},
};

/// Longest comment.
const COMMENT_MAX: usize = 1_024;

/// Which alerts to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AlertListing {
    /// Only those that are open, or only those that are over; both unless given.
    state: Option<AlertState>,
    /// Items of a page: 100 unless given, at most 1,000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Whether it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// Some node sees it.
    Open,
    /// No node sees it any more.
    Cleared,
}

/// An alert.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Alert)]
pub struct AlertView {
    id: Uuid,
    rule: &'static str,
    /// What it is about; empty = the deployment.
    subject: String,
    #[schema(value_type = String)]
    severity: Severity,
    state: AlertState,
    /// A sentence for people.
    summary: String,
    /// What was measured when it was raised, in the unit of the rule.
    value: u64,
    /// The node that saw it first.
    raised_by: String,
    raised_at: DateTime<Utc>,
    acknowledged_by: Option<String>,
    acknowledged_at: Option<DateTime<Utc>>,
    comment: Option<String>,
    /// When further people were told, since nobody had taken it up.
    escalated_at: Option<DateTime<Utc>>,
    cleared_at: Option<DateTime<Utc>>,
    /// Until when nobody is told of it; null = it is not kept quiet.
    silenced_until: Option<DateTime<Utc>>,
    /// What to do.
    runbook_url: String,
}

/// A page of alerts, newest first.
#[derive(Serialize, utoipa::ToSchema)]
pub struct AlertsPage {
    items: Vec<AlertView>,
    /// Absent on the last page.
    next_cursor: Option<String>,
}

/// Somebody takes an alert up.
#[derive(Deserialize, Default, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AcknowledgeAlert {
    #[serde(default)]
    #[schema(max_length = 1024)]
    comment: Option<String>,
}

impl AlertView {
    /// Those about something that were open at some time since a moment, newest first; at most so many.
    pub(super) async fn within(
        state: &AppState,
        matter: Matter,
        span: (DateTime<Utc>, Option<DateTime<Utc>>),
        limit: u64,
    ) -> Result<Vec<Self>, Problem> {
        let found = state.alerts.within(matter, span, limit).await?;
        let silences = state.alerts.silences().await?;
        Ok(found.into_iter().map(|alert| Self::new(state, &silences, alert)).collect())
    }

    fn new(state: &AppState, silences: &[Silence], alert: AlertRecord) -> Self {
        let silenced_until = silenced_until(silences, &alert);
        let runbook_url = state.alerts.told(&alert).runbook_url;
        let acknowledged = alert.acknowledged;
        Self {
            id: alert.id,
            rule: alert.rule.as_str(),
            subject: alert.subject,
            severity: alert.severity,
            state: if alert.cleared_at.is_none() { AlertState::Open } else { AlertState::Cleared },
            summary: alert.summary,
            value: alert.value,
            raised_by: alert.raised_by,
            raised_at: alert.raised_at,
            acknowledged_by: acknowledged.as_ref().map(|acknowledged| acknowledged.by.clone()),
            acknowledged_at: acknowledged.as_ref().map(|acknowledged| acknowledged.at),
            comment: acknowledged.and_then(|acknowledged| acknowledged.comment),
            escalated_at: alert.escalated_at,
            cleared_at: alert.cleared_at,
            silenced_until,
            runbook_url,
        }
    }
}

/// Lists alerts, newest first. Those that were over 90 days ago are gone.
///
/// # Errors
/// `invalid_request`; `overloaded` when the database does not answer.
#[utoipa::path(get, path = "/v1/alerts", tag = "operations", params(AlertListing), responses(
    (status = 200, description = "A page", body = AlertsPage),
))]
pub async fn list(
    state: Data<AppState>,
    StrictQuery(listing): StrictQuery<AlertListing>,
) -> Result<HttpResponse, Problem> {
    let limit = limit(listing.limit)?;
    let before: Option<Uuid> = listing.cursor.as_deref().map(from_cursor).transpose()?;
    let open = listing.state.map(|state| state == AlertState::Open);
    // One more tells whether there is another page.
    let mut found = state.alerts.list(open, before, limit as u64 + 1).await?;
    let is_last = found.len() <= limit;
    found.truncate(limit);
    let last = found.last().map(|alert| to_cursor(&alert.id.to_string()));
    let silences = state.alerts.silences().await?;
    let items = found.into_iter().map(|alert| AlertView::new(&state, &silences, alert)).collect();
    Ok(HttpResponse::Ok().json(AlertsPage { items, next_cursor: last.filter(|_| !is_last) }))
}

/// Shows an alert.
///
/// # Errors
/// `not_found`; `overloaded` when the database does not answer.
#[utoipa::path(get, path = "/v1/alerts/{id}", tag = "operations", params(("id" = Uuid, Path)), responses(
    (status = 200, description = "The alert", body = AlertView),
))]
pub async fn show(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let alert = state.alerts.show(named(&request)?).await?;
    shown(&state, alert).await
}

/// Takes an alert up: nobody else needs to be told of it. The first who does is the one that is shown; an alert that is over can be taken up too.
///
/// # Errors
/// `not_found`, `invalid_request`; `overloaded` when the database does not answer.
#[utoipa::path(post, path = "/v1/alerts/{id}/ack", tag = "operations", params(("id" = Uuid, Path)),
    request_body = AcknowledgeAlert, responses(
    (status = 200, description = "The alert", body = AlertView),
))]
pub async fn acknowledge(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    StrictJson(given): StrictJson<AcknowledgeAlert>,
) -> Result<HttpResponse, Problem> {
    let id = named(&request)?;
    let is_odd = |text: &String| text.len() > COMMENT_MAX || text.chars().any(char::is_control);
    if given.comment.as_ref().is_some_and(is_odd) {
        return Err(Problem::invalid("comment must be at most 1024 bytes without control characters"));
    }
    let alert = state.alerts.acknowledge(&caller.context(), id, given.comment).await?;
    shown(&state, alert).await
}

async fn shown(state: &AppState, alert: AlertRecord) -> Result<HttpResponse, Problem> {
    let silences = state.alerts.silences().await?;
    Ok(HttpResponse::Ok().json(AlertView::new(state, &silences, alert)))
}

fn named(request: &HttpRequest) -> Result<Uuid, Problem> {
    let missing = || Problem::new(Code::NotFound, "there is no such alert");
    segment(request, "id", |id| id.parse::<Uuid>().ok()).ok_or_else(missing)
}

impl From<AlertError> for Problem {
    fn from(error: AlertError) -> Self {
        match error {
            AlertError::NotFound => Self::new(Code::NotFound, error.to_string()),
            AlertError::Retry(error) => error.into(),
            AlertError::Silence(_) => Self::new(Code::KeyStateConflict, error.to_string()),
            AlertError::Storage(ref cause) => {
                tracing::warn!(error = %cause, "alerts could not be read or changed");
                Self::new(Code::Overloaded, error.to_string())
            }
        }
    }
}
