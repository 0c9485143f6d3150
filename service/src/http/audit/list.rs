//! `GET /v1/audit`: changes and refusals of every node, out of the database.

use actix_web::{HttpResponse, web::Data};
use chrono::{DateTime, Utc};
use claviger_actors::store::{EventFilter, EventRow, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::http::{
    body::StrictQuery,
    page::{from_cursor, limit, to_cursor},
    problem::{Code, Problem},
    slice::Slice,
    state::AppState,
};

/// Rows that are read at once.
const CHUNK: usize = 100;
/// A page that has so many bytes ends: policies stand in their records as a whole.
const PAGE_BYTES: usize = 4 << 20;

/// Which events to list; what is left out is no condition.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventListing {
    /// Events of this name, such as `key_rotated` or `access_denied`.
    event: Option<String>,
    /// Events of the key with this name.
    key: Option<String>,
    /// Events of the principal with this name or id.
    actor: Option<String>,
    /// Events that ended so: `ok`, or the code of a problem.
    outcome: Option<String>,
    /// Events from this moment on.
    since: Option<DateTime<Utc>>,
    /// Events before this moment.
    until: Option<DateTime<Utc>>,
    /// Items of a page: 100 unless given, at most 1,000. A page with long records may have fewer.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A page of events, newest first.
#[derive(Serialize, utoipa::ToSchema)]
pub struct EventPage {
    /// Audit records.
    #[schema(value_type = Vec<Object>)]
    items: Vec<Value>,
    /// Absent on the last page.
    next_cursor: Option<String>,
}

/// Lists events of all nodes: changes, refusals, and what each node has to say of its log. Uses of keys are in the logs of the nodes only.
///
/// # Errors
/// `invalid_request`; `overloaded` when the database does not answer.
#[utoipa::path(get, path = "/v1/audit", tag = "operations", params(EventListing), responses(
    (status = 200, description = "A page", body = EventPage),
))]
pub async fn list(
    state: Data<AppState>,
    StrictQuery(listing): StrictQuery<EventListing>,
) -> Result<HttpResponse, Problem> {
    let limit = limit(listing.limit)?;
    let mut cursor: Option<Uuid> = listing.cursor.as_deref().map(from_cursor).transpose()?;
    let filter = filter(listing)?;
    let (mut items, mut bytes, mut slice) = (Vec::new(), 0, Slice::begin());
    loop {
        let wanted = CHUNK.min(limit - items.len());
        // One more tells whether there is another page.
        let rows = state.ring.audit_events(&filter, cursor, wanted as u64 + 1).await.map_err(away)?;
        let is_last = rows.len() <= wanted;
        let mut taken = 0;
        for row in rows.iter().take(wanted) {
            slice.rest().await;
            taken += 1;
            bytes += row.record().len();
            cursor = row.id().parse().ok().or(cursor);
            items.extend(record(row));
            if bytes >= PAGE_BYTES {
                break;
            }
        }
        let is_over = is_last && taken == rows.len();
        if is_over || items.len() >= limit || bytes >= PAGE_BYTES {
            let next = cursor.filter(|_| !is_over);
            let next_cursor = next.map(|cursor| to_cursor(&cursor.to_string()));
            return Ok(HttpResponse::Ok().json(EventPage { items, next_cursor }));
        }
    }
}

fn filter(listing: EventListing) -> Result<EventFilter, Problem> {
    let EventListing { event, key, actor, outcome, since, until, limit: _, cursor: _ } = listing;
    let texts = [&event, &key, &actor, &outcome];
    if texts.into_iter().flatten().any(|text| text.contains('\0')) {
        return Err(Problem::invalid("a filter holds a zero byte"));
    }
    Ok(EventFilter { event, key, actor, outcome, since, until })
}

fn record(row: &EventRow) -> Option<Value> {
    serde_json::from_str(row.record())
        .inspect_err(|_| tracing::error!(id = row.id(), "an event in the database was changed from outside"))
        .ok()
}

fn away(error: StoreError) -> Problem {
    tracing::warn!(%error, "the events could not be read");
    Problem::new(Code::Overloaded, "the database does not answer; try again")
}
