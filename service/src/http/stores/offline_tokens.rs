//! Offline tokens, one a user.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use chrono::{DateTime, Utc};
use claviger_actors::stores::{About, Change, Place, Store, Write, text_to_bytes};
use claviger_entity::Owner;
use claviger_policy::{Permission, Target};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{change, conditions, delete as delete_at, fitting, note_place, place, shown};
use crate::http::{
    body::StrictJson,
    problem::Problem,
    state::{AppState, Caller},
};

/// A token to write.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OfflineTokenBody {
    /// The token.
    #[schema(value_type = String, min_length = 1, max_length = 65_536, format = Password)]
    offline_token: Zeroizing<String>,
}

/// An offline token.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = OfflineToken)]
pub struct OfflineTokenView {
    /// The token.
    #[schema(value_type = String)]
    offline_token: Zeroizing<String>,
    /// Grows by one with each change.
    version: u64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

fn at(request: &HttpRequest) -> Result<Place, Problem> {
    place::of_path(Target::OfflineToken, "/v1/offline-tokens/{user}", request.uri().path())
}

/// Reads the offline token of a user.
///
/// # Errors
/// `not_found`; `key_state_conflict` when its row was changed from outside.
#[utoipa::path(get, path = "/v1/offline-tokens/{user}", tag = "stores", params(("user" = Owner, Path)), responses(
    (status = 200, description = "The token", body = OfflineTokenView,
        headers(("ETag" = String, description = "For If-Match"))),
))]
pub async fn show(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let place = at(&request)?;
    let opened = state.stores.read(&place).await?.ok_or_else(|| place::missing(Store::OfflineTokens))?;
    note_place(&request, &state, &place);
    let view = OfflineTokenView {
        offline_token: opened.text()?,
        version: opened.revision.version,
        created_at: opened.created_at,
        updated_at: opened.updated_at,
    };
    Ok(shown(HttpResponse::Ok(), opened.revision, &view))
}

/// Writes the offline token of a user, new or anew; `If-Match` and `If-None-Match` make it conditional.
///
/// # Errors
/// `invalid_request`, `payload_too_large`, `precondition_failed`.
#[utoipa::path(put, path = "/v1/offline-tokens/{user}", tag = "stores", params(("user" = Owner, Path)), request_body = OfflineTokenBody, responses(
    (status = 200, description = "The token; there was one before", body = OfflineTokenView,
        headers(("ETag" = String, description = "For If-Match"))),
    (status = 201, description = "The token, which is new", body = OfflineTokenView,
        headers(("ETag" = String, description = "For If-Match"))),
))]
pub async fn put(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    StrictJson(given): StrictJson<OfflineTokenBody>,
) -> Result<HttpResponse, Problem> {
    let place = at(&request)?;
    let condition = conditions::of_headers(&request)?;
    let value = fitting(text_to_bytes(&given.offline_token))?;
    let write = Change { place: place.clone(), condition, write: Write::Put(value, About::default()) };
    let done = change(&state, &caller, Permission::OfflineTokenWrite, &[], write).await?;
    note_place(&request, &state, &place);
    let revision = done.revision.ok_or_else(|| place::missing(Store::OfflineTokens))?;
    let response = if done.is_new { HttpResponse::Created() } else { HttpResponse::Ok() };
    let view = OfflineTokenView {
        offline_token: given.offline_token,
        version: revision.version,
        created_at: done.created_at,
        updated_at: done.at,
    };
    Ok(shown(response, revision, &view))
}

/// Deletes the offline token of a user.
///
/// # Errors
/// `not_found`, `precondition_failed`.
#[utoipa::path(delete, path = "/v1/offline-tokens/{user}", tag = "stores", params(("user" = Owner, Path)), responses(
    (status = 204, description = "Deleted"),
))]
pub async fn delete(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
) -> Result<HttpResponse, Problem> {
    delete_at(&request, &state, &caller, (at(&request)?, Permission::OfflineTokenDelete)).await
}
