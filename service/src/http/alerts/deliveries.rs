//! What was, or is to be, told over channels.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use chrono::{DateTime, Utc};
use claviger_actors::alerts::{Delivery, DeliveryState, RetryError};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::http::{
    body::{StrictQuery, segment},
    page::{from_cursor, limit, to_cursor},
    problem::{Code, Problem},
    state::{AppState, Caller},
};

/// Which deliveries to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeliveryListing {
    /// `pending`, `done`, `dropped` or `dead`; all unless given.
    state: Option<String>,
    /// Of this alert or incident; of all unless given.
    about: Option<Uuid>,
    /// Items of a page: 100 unless given, at most 1,000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// What is to be told over a channel, and how far that is.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = AlertDelivery)]
pub struct DeliveryView {
    /// Receivers of webhooks get it as `webhook-id`, behind `msg_` and without hyphens.
    id: Uuid,
    /// The alert or the incident.
    about: Uuid,
    channel: String,
    /// `raised`, `escalated`, `cleared` or `incident`.
    kind: &'static str,
    /// `pending`: it is to be told; `done`: it was; `dropped`: there was no use in it any more; `dead`: it was given up.
    state: &'static str,
    attempts: u64,
    made_at: DateTime<Utc>,
    /// When it is tried again; null once there is nothing more to do.
    next_at: Option<DateTime<Utc>>,
    /// Why it was not taken the last time.
    last_error: Option<String>,
    ended_at: Option<DateTime<Utc>>,
}

/// A page of deliveries, newest first.
#[derive(Serialize, utoipa::ToSchema)]
pub struct DeliveriesPage {
    items: Vec<DeliveryView>,
    /// Absent on the last page.
    next_cursor: Option<String>,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id,
            about: delivery.about,
            channel: delivery.channel,
            kind: delivery.kind.as_str(),
            state: delivery.state.as_str(),
            attempts: delivery.attempts,
            made_at: delivery.made_at,
            next_at: delivery.ended_at.is_none().then_some(delivery.next_at),
            last_error: delivery.last_error,
            ended_at: delivery.ended_at,
        }
    }
}

/// Lists what was, or is to be, told over channels, newest first.
///
/// # Errors
/// `invalid_request`; `overloaded` when the database does not answer.
#[utoipa::path(get, path = "/v1/alerts/deliveries", tag = "operations", params(DeliveryListing), responses(
    (status = 200, description = "A page", body = DeliveriesPage),
))]
pub async fn list(
    state: Data<AppState>,
    StrictQuery(listing): StrictQuery<DeliveryListing>,
) -> Result<HttpResponse, Problem> {
    let limit = limit(listing.limit)?;
    let before: Option<Uuid> = listing.cursor.as_deref().map(from_cursor).transpose()?;
    let unknown = || Problem::invalid("state must be pending, done, dropped or dead");
    let wanted = listing.state.map(|text| DeliveryState::parse(&text).ok_or_else(unknown)).transpose()?;
    // One more tells whether there is another page.
    let mut found = state.alerts.deliveries((listing.about, wanted), before, limit as u64 + 1).await?;
    let is_last = found.len() <= limit;
    found.truncate(limit);
    let last = found.last().map(|delivery| to_cursor(&delivery.id.to_string()));
    let items = found.into_iter().map(DeliveryView::from).collect();
    Ok(HttpResponse::Ok().json(DeliveriesPage { items, next_cursor: last.filter(|_| !is_last) }))
}

/// Has a message told again that was given up (`dead`), with all its tries, and after a beginning its end too if that was dropped. One that is to be told
/// already, or was told, stays as it is.
///
/// # Errors
/// `not_found`; `key_state_conflict` when there is no use in it any more, or the channel is not configured; `overloaded` when the database does not answer.
#[utoipa::path(post, path = "/v1/alerts/deliveries/{id}/retry", tag = "operations", params(("id" = Uuid, Path)), responses(
    (status = 200, description = "The message", body = DeliveryView),
))]
pub async fn retry(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
) -> Result<HttpResponse, Problem> {
    let missing = || Problem::from(RetryError::NotFound);
    let id = segment(&request, "id", |id| id.parse::<Uuid>().ok()).ok_or_else(missing)?;
    let delivery = state.alerts.retry(&caller.context(), id).await?;
    Ok(HttpResponse::Ok().json(DeliveryView::from(delivery)))
}

impl From<RetryError> for Problem {
    fn from(error: RetryError) -> Self {
        let code = match error {
            RetryError::NotFound => Code::NotFound,
            RetryError::Dropped | RetryError::NoChannel(_) => Code::KeyStateConflict,
        };
        Self::new(code, error.to_string())
    }
}
