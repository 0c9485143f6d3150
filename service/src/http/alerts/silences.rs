//! Alerts of which nobody is to be told for a while.

use actix_web::{HttpRequest, HttpResponse, http::header, web::Data};
use chrono::{DateTime, TimeDelta, Utc};
use claviger_actors::alerts::{Rule, Silence};
use claviger_entity::HumanDuration;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::http::{
    body::{StrictJson, segment},
    problem::{Code, Problem},
    state::{AppState, Caller},
};

/// Longest reason and subject.
const TEXT_MAX: usize = 1_024;
/// Longest silence.
const LONGEST_DAYS: i64 = 30;

/// Which alerts are to be kept quiet, for how long and why. At least one of `rule` and `subject`, or everything.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MakeSilence {
    /// Alerts of this rule; of every rule unless given.
    #[serde(default)]
    rule: Option<String>,
    /// Alerts about this; about whatever unless given.
    #[serde(default)]
    #[schema(max_length = 1024)]
    subject: Option<String>,
    /// For how long, at most 30 days.
    #[schema(value_type = String, example = "2h")]
    r#for: HumanDuration,
    #[schema(min_length = 1, max_length = 1024)]
    reason: String,
}

/// A silence.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Silence)]
pub struct SilenceView {
    id: Uuid,
    rule: Option<&'static str>,
    subject: Option<String>,
    reason: String,
    made_by: String,
    made_at: DateTime<Utc>,
    until: DateTime<Utc>,
}

/// The silences that are in force, oldest first.
#[derive(Serialize, utoipa::ToSchema)]
pub struct SilencesAnswer {
    items: Vec<SilenceView>,
}

impl From<Silence> for SilenceView {
    fn from(silence: Silence) -> Self {
        Self {
            id: silence.id,
            rule: silence.rule.map(Rule::as_str),
            subject: silence.subject,
            reason: silence.reason,
            made_by: silence.made_by,
            made_at: silence.made_at,
            until: silence.until,
        }
    }
}

/// Keeps alerts quiet for a while: they are raised, kept and shown, and nobody is told of them over channels, nor are they escalated. What is still the case
/// at the end is told then.
///
/// # Errors
/// `invalid_request`; `key_state_conflict` when there are too many; `overloaded` when the database does not answer.
#[utoipa::path(post, path = "/v1/alerts/silences", tag = "operations", request_body = MakeSilence, responses(
    (status = 201, description = "The silence", body = SilenceView, headers(("Location" = String, description = "The silence"))),
))]
pub async fn make(
    state: Data<AppState>,
    caller: Caller,
    StrictJson(given): StrictJson<MakeSilence>,
) -> Result<HttpResponse, Problem> {
    let MakeSilence { rule, subject, r#for: time, reason } = given;
    let unknown = || Problem::invalid("rule must be the name of a rule; see docs/alerts.md");
    let rule = rule.map(|name| Rule::parse(&name).ok_or_else(unknown)).transpose()?;
    let fits = |text: &str| text.len() <= TEXT_MAX && !text.chars().any(char::is_control);
    if subject.as_ref().is_some_and(|subject| !fits(subject)) {
        return Err(Problem::invalid("subject must be at most 1024 bytes without control characters"));
    }
    if reason.trim().is_empty() || !fits(&reason) {
        return Err(Problem::invalid("reason must be 1 to 1024 bytes without control characters"));
    }
    let time = time.to_delta();
    if time <= TimeDelta::zero() || time > TimeDelta::days(LONGEST_DAYS) {
        return Err(Problem::invalid("for must be a duration of at most 30 days"));
    }
    let silence = state.alerts.silence(&caller.context(), (rule, subject), time, reason).await?;
    let location = format!("/v1/alerts/silences/{}", silence.id);
    Ok(HttpResponse::Created().insert_header((header::LOCATION, location)).json(SilenceView::from(silence)))
}

/// Lists the silences that are in force.
///
/// # Errors
/// `overloaded` when the database does not answer.
#[utoipa::path(get, path = "/v1/alerts/silences", tag = "operations", responses(
    (status = 200, description = "The silences", body = SilencesAnswer),
))]
pub async fn list(state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let items = state.alerts.silences().await?.into_iter().map(SilenceView::from).collect();
    Ok(HttpResponse::Ok().json(SilencesAnswer { items }))
}

/// Ends a silence. What it has kept quiet and is still the case is told now.
///
/// # Errors
/// `not_found`; `overloaded` when the database does not answer.
#[utoipa::path(delete, path = "/v1/alerts/silences/{id}", tag = "operations", params(("id" = Uuid, Path)), responses(
    (status = 204, description = "It is over"),
))]
pub async fn end(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
) -> Result<HttpResponse, Problem> {
    let missing = || Problem::new(Code::NotFound, "there is no such silence");
    let id = segment(&request, "id", |id| id.parse::<Uuid>().ok()).ok_or_else(missing)?;
    if !state.alerts.end_silence(&caller.context(), id).await? {
        return Err(missing());
    }
    Ok(HttpResponse::NoContent().finish())
}
