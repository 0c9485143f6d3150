//! Tokens of several users at once.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use chrono::{DateTime, Utc};
use claviger_actors::stores::{Change, Place};
use claviger_entity::{Owner, ProviderName};
use claviger_policy::Permission;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    auth_tokens::{AuthTokenBody, AuthTokenView},
    batch::{self, ItemResult},
    conditions,
};
use crate::http::{
    body::StrictJson,
    keys::note,
    problem::Problem,
    state::{AppState, Caller},
};

/// What is to be read and written: up to 100 items in all. What is put is put first.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthTokenBatch {
    /// Tokens to read.
    #[serde(default)]
    #[schema(max_items = 100)]
    get: Vec<AuthTokenName>,
    /// Tokens to write. Each is judged for itself: one that is too long has its problem in its place.
    #[serde(default)]
    #[schema(max_items = 100)]
    put: Vec<AuthTokenPut>,
}

/// Whose tokens with which provider.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthTokenName {
    user: Owner,
    provider: ProviderName,
}

/// Tokens to write.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthTokenPut {
    user: Owner,
    provider: ProviderName,
    /// The access token.
    #[schema(value_type = String, format = Password)]
    access_token: Zeroizing<String>,
    /// The refresh token; absent = the provider gave none.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Password)]
    refresh_token: Option<Zeroizing<String>>,
    /// End of the access token, to the second; absent = it does not end.
    #[serde(default)]
    access_expires_at: Option<DateTime<Utc>>,
    /// End of the refresh token, to the second; absent = it does not end.
    #[serde(default)]
    refresh_expires_at: Option<DateTime<Utc>>,
    /// Only on this state, as the header.
    #[serde(default)]
    if_match: Option<String>,
    /// Not on this state, as the header; `*` = only if there is nothing.
    #[serde(default)]
    if_none_match: Option<String>,
}

/// Tokens that were read.
#[derive(Serialize, utoipa::ToSchema)]
pub struct AuthTokenGot {
    user: Owner,
    provider: ProviderName,
    etag: String,
    /// Reading these tokens alone would have them refreshed; a batch asks no provider.
    refresh_due: bool,
    #[serde(flatten)]
    tokens: AuthTokenView,
}

/// Tokens that were written.
#[derive(Serialize, utoipa::ToSchema)]
pub struct AuthTokenWritten {
    user: Owner,
    provider: ProviderName,
    etag: String,
    version: u64,
    updated_at: DateTime<Utc>,
}

/// Results, in the order of what was asked.
#[derive(Serialize, utoipa::ToSchema)]
pub struct AuthTokenResults {
    get: Vec<ItemResult<AuthTokenGot>>,
    put: Vec<ItemResult<AuthTokenWritten>>,
}

/// Reads and writes tokens of several users. What is read is as it was written: `refresh_due` says that it should be read alone. Each item is decided on by itself; all that are written are in one transaction, and a retry
/// with the same `Idempotency-Key` writes nothing again.
///
/// # Errors
/// `invalid_request`; of an item: as of the single routes.
#[utoipa::path(post, path = "/v1/auth-tokens:batch", tag = "stores", request_body = AuthTokenBatch, responses(
    (status = 200, description = "The results", body = AuthTokenResults),
))]
pub async fn batch(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    StrictJson(given): StrictJson<AuthTokenBatch>,
) -> Result<HttpResponse, Problem> {
    // Every item is asked about; one that is refused is an item's problem.
    caller.decided();
    let place = |user: &Owner, provider| Place::auth_token(user.clone(), provider);
    let reads: Vec<Place> = given.get.iter().map(|name| place(&name.user, &name.provider)).collect();
    let writes: Vec<Place> = given.put.iter().map(|put| place(&put.user, &put.provider)).collect();
    batch::judge(reads.len(), writes.iter())?;
    let names: Vec<AuthTokenName> = given
        .put
        .iter()
        .map(|put| AuthTokenName { user: put.user.clone(), provider: put.provider.clone() })
        .collect();
    let changes = given.put.into_iter().zip(writes).map(|(put, place)| change(put, place)).collect();
    let operation = (Permission::AuthTokenWrite, "auth_token.batch");
    let written = batch::put(&state, &caller, operation, &[], changes).await?;
    let read = batch::get(&state, &caller, Permission::AuthTokenRead, &reads).await?;
    let put: Vec<ItemResult<AuthTokenWritten>> = names
        .into_iter()
        .zip(written)
        .map(|(AuthTokenName { user, provider }, done)| {
            ItemResult::of(done.and_then(|done| {
                let revision = done.revision.ok_or_else(|| Problem::invalid("nothing was written"))?;
                let (etag, version, updated_at) = (revision.tag(), revision.version, done.at);
                Ok(AuthTokenWritten { user, provider, etag, version, updated_at })
            }))
        })
        .collect();
    let get: Vec<ItemResult<AuthTokenGot>> = given
        .get
        .into_iter()
        .zip(read.into_iter().zip(&reads))
        .map(|(AuthTokenName { user, provider }, (opened, place))| {
            ItemResult::of(opened.and_then(|opened| {
                let etag = opened.revision.tag();
                let refresh_due = state.providers.is_due(place, &opened);
                Ok(AuthTokenGot { user, provider, etag, refresh_due, tokens: AuthTokenView::new(&opened)? })
            }))
        })
        .collect();
    note(&request, batch::subject((None, &[]), &get, &put));
    Ok(HttpResponse::Ok().json(AuthTokenResults { get, put }))
}

fn change(put: AuthTokenPut, place: Place) -> Result<Change, Problem> {
    let condition = conditions::of_texts(put.if_match.as_deref(), put.if_none_match.as_deref())?;
    let body = AuthTokenBody {
        access_token: put.access_token,
        refresh_token: put.refresh_token,
        access_expires_at: put.access_expires_at,
        refresh_expires_at: put.refresh_expires_at,
    };
    Ok(Change { place, condition, write: body.write()? })
}
