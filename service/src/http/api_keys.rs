//! API keys: credentials with roles, for programs and people. The secret is in the answer that makes it and nowhere else.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, http::header, web::Data};
use chrono::{DateTime, Utc};
use claviger_actors::{
    access::{self, ApiKeySubject, Handed, Principal},
    audit::Subject,
    keyring::{Applied, Snapshot},
};
use claviger_entity::{ApiKeyName, HumanDuration, RoleName};
use claviger_policy::{Permission, PrincipalRef};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    authority::api_key_id,
    body::{StrictJson, StrictQuery, segment},
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

/// Creates an API key. Callers who are not administrators give at most what they hold: only roles of theirs, no longer life than their own,
/// and nothing that a policy gives or takes by id or name.
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
    let handed = Handed {
        principal: PrincipalRef::ApiKey { id: Uuid::nil(), name: &new.name, roles: &new.roles },
        expires_at: new.expires_at,
    };
    may_hand_on(&state, &caller, &handed)?;
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
    let all = snapshot.access().api_keys_after(after);
    let is_seen = |principal: &&Arc<Principal>| {
        let permission = Permission::ApiKeyRead;
        state.authorizer.permits_api_key(&snapshot, &caller.identity, permission, &principal.record)
    };
    let view = |principal: &&Arc<Principal>| ApiKeyView::new(principal, now);
    let cursor = |principal: &&Arc<Principal>| principal.record.id.to_string();
    let (items, next_cursor) = page(all, is_seen, limit, view, cursor).await;
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

/// Gives an API key a new secret. Callers who are not administrators may do so for their own, and for those that they could have created.
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
        if caller.identity.replaced_until().is_some() && !caller.identity.is_admin() {
            // Whoever still has the secret of before must not lock out whoever has the one of now.
            return Err(Problem::new(
                Code::Forbidden,
                "a secret that was replaced rotates nothing; use the new one",
            ));
        }
        if id != caller.identity.id() {
            let record = &principal.record;
            let handed = Handed { principal: record.as_policy_ref(), expires_at: record.expires_at };
            may_hand_on(&state, &caller, &handed)?;
        }
        id
    };
    note_id(&request, id);
    let overlap = given.overlap.unwrap_or(HumanDuration::from_secs(0));
    let made = state.ring.rotate_api_key(caller.context(), id, overlap).await?;
    with_secret(&request, &state, made, HttpResponse::Ok())
}

/// Whoever could make a credential that holds more than theirs could give themselves more.
pub(super) fn may_hand_on(state: &AppState, caller: &Caller, handed: &Handed<'_>) -> Result<(), Problem> {
    let refused = |detail| Problem::new(Code::Forbidden, detail);
    let giver = caller.identity.as_giver();
    let giver = giver.ok_or_else(|| refused("tokens give no credentials; use an API key"))?;
    let snapshot = state.ring.snapshot();
    access::may_hand_on(snapshot.access().engine(), &giver, handed).map_err(refused)
}

fn named<'a>(request: &HttpRequest, snapshot: &'a Snapshot) -> Result<(Uuid, &'a Arc<Principal>), Problem> {
    let missing = || Problem::new(Code::NotFound, "there is no such API key");
    let id = segment(request, "id", api_key_id).ok_or_else(missing)?;
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
