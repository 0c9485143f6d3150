//! API keys: credentials with roles, for programs and people. The secret is in the answer that makes it and nowhere else.

use actix_web::{HttpRequest, HttpResponse, http::header, web::Data};
use chrono::{DateTime, Utc};
use claviger_actors::{
    access::{ApiKeySubject, Principal},
    audit::Subject,
    keyring::{Applied, Snapshot},
};
use claviger_entity::{ApiKeyName, HumanDuration, RoleName};
use claviger_policy::{Permission, ResourceRef};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    authority::api_key_id,
    body::{StrictJson, StrictQuery},
    keys::note,
    page::{self, from_cursor, limit, page},
    problem::{Code, Problem},
    state::{AppState, Caller},
};

/// An API key to create.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewApiKey {
    name: ApiKeyName,
    /// Shipped roles (`admin`, `operator`, `signer`, `verifier`, `encrypter`, `auditor`) or any that policies give a meaning; at most 16.
    #[serde(default)]
    #[schema(max_items = 16)]
    roles: Vec<RoleName>,
    /// When it ends; never unless given.
    #[serde(default)]
    expires_at: Option<DateTime<Utc>>,
}

/// A new secret for an API key.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateApiKey {
    /// How long the old secret is accepted beside the new one: not at all unless given, at most 30 d.
    #[serde(default)]
    overlap: Option<HumanDuration>,
}

/// An API key.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ApiKey)]
pub struct ApiKeyView {
    /// 32 hex digits.
    id: String,
    name: ApiKeyName,
    roles: Vec<RoleName>,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    /// To the minute or so; null = not yet.
    last_used_at: Option<DateTime<Utc>>,
    /// Until when the secret before is accepted; null = it is not.
    previous_secret_until: Option<DateTime<Utc>>,
}

/// An API key with its new secret.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ApiKeyWithSecret {
    #[serde(flatten)]
    key: ApiKeyView,
    /// `clv_<id>_<secret>`, to be sent as `Authorization: Bearer`. Shown this once.
    #[schema(value_type = String)]
    secret: Zeroizing<String>,
}

/// A page of API keys, oldest first.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ApiKeyPage {
    items: Vec<ApiKeyView>,
    /// Absent on the last page.
    next_cursor: Option<String>,
}

impl ApiKeyView {
    fn new(principal: &Principal, now: DateTime<Utc>) -> Self {
        let record = &principal.record;
        let previous = record.previous.as_ref().map(|previous| previous.until).filter(|until| now < *until);
        Self {
            id: record.id.simple().to_string(),
            name: record.name.clone(),
            roles: record.roles.clone(),
            created_at: record.created_at,
            expires_at: record.expires_at,
            last_used_at: principal.last_used_at(),
            previous_secret_until: previous,
        }
    }
}

/// Creates an API key. Callers who are not administrators may give only roles that they hold themselves.
///
/// # Errors
/// `invalid_request`, `forbidden`.
#[utoipa::path(post, path = "/v1/api-keys", tag = "access", request_body = NewApiKey, responses(
    (status = 201, description = "The API key and its secret", body = ApiKeyWithSecret,
        headers(("Location" = String, description = "The API key"))),
))]
pub async fn create(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    StrictJson(new): StrictJson<NewApiKey>,
) -> Result<HttpResponse, Problem> {
    may_give(&caller, &new.roles)?;
    let made = state.ring.create_api_key(caller.context(), new.name, new.roles, new.expires_at).await?;
    let mut response = HttpResponse::Created();
    response.insert_header((header::LOCATION, format!("/v1/api-keys/{}", made.subject.id.simple())));
    with_secret(&request, &state, made, response)
}

/// Lists API keys, without their secrets.
///
/// # Errors
/// `invalid_request`.
#[utoipa::path(get, path = "/v1/api-keys", tag = "access", params(page::Listing), responses(
    (status = 200, description = "A page", body = ApiKeyPage),
))]
pub async fn list(
    state: Data<AppState>,
    caller: Caller,
    StrictQuery(listing): StrictQuery<page::Listing>,
) -> Result<HttpResponse, Problem> {
    caller.decided();
    let (snapshot, now) = (state.ring.snapshot(), state.clock.now());
    let limit = limit(listing.limit)?;
    let after: Option<Uuid> = listing.cursor.as_deref().map(from_cursor).transpose()?;
    let seen = snapshot.access().api_keys_after(after).filter(|principal| {
        let record = &principal.record;
        let resource = ResourceRef::ApiKey { id: record.id, name: &record.name, roles: &record.roles };
        state.authorizer.permits(&snapshot, &caller.identity, Permission::ApiKeyRead, &resource)
    });
    let view = |principal: &&std::sync::Arc<Principal>| ApiKeyView::new(principal, now);
    let (items, next_cursor) = page(seen, limit, view, |principal| principal.record.id.to_string());
    Ok(HttpResponse::Ok().json(ApiKeyPage { items, next_cursor }))
}

/// Shows an API key, without its secret.
///
/// # Errors
/// `not_found`.
#[utoipa::path(get, path = "/v1/api-keys/{id}", tag = "access", params(("id" = String, Path, pattern = "^[0-9a-f]{32}$")), responses(
    (status = 200, description = "The API key", body = ApiKeyView),
))]
pub async fn show(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let snapshot = state.ring.snapshot();
    let (_, principal) = named(&request, &snapshot)?;
    Ok(HttpResponse::Ok().json(ApiKeyView::new(principal, state.clock.now())))
}

/// Deletes an API key: its secrets are not accepted any more, at once.
///
/// # Errors
/// `not_found`, `key_state_conflict` for the last administrator whose credential does not expire.
#[utoipa::path(delete, path = "/v1/api-keys/{id}", tag = "access", params(("id" = String, Path, pattern = "^[0-9a-f]{32}$")), responses(
    (status = 204, description = "Deleted"),
))]
pub async fn delete(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
) -> Result<HttpResponse, Problem> {
    let id = named(&request, &state.ring.snapshot()).map(|(id, _)| id)?;
    note_id(&request, id);
    state.ring.delete_api_key(caller.context(), id).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Gives an API key a new secret. Callers who are not administrators may do so for API keys whose roles they hold, and for their own.
///
/// # Errors
/// `not_found`, `forbidden`, `invalid_request`.
#[utoipa::path(post, path = "/v1/api-keys/{id}/rotate", tag = "access", params(("id" = String, Path, pattern = "^[0-9a-f]{32}$")), request_body = RotateApiKey, responses(
    (status = 200, description = "The API key and its new secret", body = ApiKeyWithSecret),
))]
pub async fn rotate(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    StrictJson(given): StrictJson<RotateApiKey>,
) -> Result<HttpResponse, Problem> {
    let id = {
        let snapshot = state.ring.snapshot();
        let (id, principal) = named(&request, &snapshot)?;
        if id != caller.identity.id() {
            may_give(&caller, &principal.record.roles)?;
        }
        id
    };
    note_id(&request, id);
    let overlap = given.overlap.unwrap_or(HumanDuration::from_secs(0));
    let made = state.ring.rotate_api_key(caller.context(), id, overlap).await?;
    with_secret(&request, &state, made, HttpResponse::Ok())
}

/// Whoever could give a role that they do not hold could give it to themselves.
fn may_give(caller: &Caller, roles: &[RoleName]) -> Result<(), Problem> {
    let held = caller.identity.roles();
    if caller.identity.is_admin() || roles.iter().all(|role| held.contains(role)) {
        return Ok(());
    }
    Err(Problem::new(Code::Forbidden, "only an administrator may give roles that the caller does not hold"))
}

fn named<'a>(
    request: &HttpRequest,
    snapshot: &'a Snapshot,
) -> Result<(Uuid, &'a std::sync::Arc<Principal>), Problem> {
    let missing = || Problem::new(Code::NotFound, "there is no such API key");
    let id = request.match_info().get("id").and_then(api_key_id).ok_or_else(missing)?;
    Ok((id, snapshot.access().api_key(id).ok_or_else(missing)?))
}

fn with_secret(
    request: &HttpRequest,
    state: &AppState,
    made: Applied<ApiKeySubject>,
    mut response: actix_web::HttpResponseBuilder,
) -> Result<HttpResponse, Problem> {
    let ApiKeySubject { id, secret } = made.subject;
    note_id(request, id);
    let snapshot = state.ring.snapshot();
    let (Some(principal), Some(secret)) = (snapshot.access().api_key(id), secret) else {
        return Err(Problem::new(Code::NotFound, "the API key has been deleted since"));
    };
    Ok(response.json(ApiKeyWithSecret { key: ApiKeyView::new(principal, state.clock.now()), secret }))
}

fn note_id(request: &HttpRequest, id: Uuid) {
    note(request, Subject { api_key: Some(id.simple().to_string()), ..Subject::default() });
}
