//! Access and refresh tokens of third parties.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use chrono::{DateTime, Utc};
use claviger_actors::stores::{
    About, AuthTokens, Change, Done, Opened, Place, SEALED_MAX, Store, TokenPair, Write,
};
use claviger_entity::{Owner, ProviderName};
use claviger_policy::{Permission, Target};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{change, conditions, delete as delete_at, fitting, note_place, place, shown};
use crate::http::{
    body::StrictJson,
    problem::{Code, Problem},
    state::{AppState, Caller},
};

const TOKENS: &str = "/v1/auth-tokens/{user}/{provider}";

/// Tokens to write.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthTokenBody {
    /// The access token.
    #[schema(value_type = String, min_length = 1, max_length = 65_536, format = Password)]
    pub(super) access_token: Zeroizing<String>,
    /// The refresh token; absent = the provider gave none.
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 65_536, format = Password)]
    pub(super) refresh_token: Option<Zeroizing<String>>,
    /// End of the access token, to the second; absent = it does not end.
    #[serde(default)]
    pub(super) access_expires_at: Option<DateTime<Utc>>,
    /// End of the refresh token, to the second; absent = it does not end.
    #[serde(default)]
    pub(super) refresh_expires_at: Option<DateTime<Utc>>,
}

impl AuthTokenBody {
    /// As it is stored.
    pub(super) fn write(&self) -> Result<Write, Problem> {
        let tokens = TokenPair {
            access_token: self.access_token.clone(),
            refresh_token: self.refresh_token.clone(),
            lifetime: None,
        };
        for token in [Some(&tokens.access_token), tokens.refresh_token.as_ref()].into_iter().flatten() {
            fitting(token.as_bytes().to_vec().into())?;
        }
        let about = About {
            description: None,
            access_expires_at: self.access_expires_at.map(|at| at.timestamp()),
            refresh_expires_at: self.refresh_expires_at.map(|at| at.timestamp()),
        };
        let sealed = tokens.to_bytes();
        if sealed.len() > SEALED_MAX {
            let detail = "an access and a refresh token have at most 196608 bytes together, as JSON";
            return Err(Problem::new(Code::PayloadTooLarge, detail));
        }
        Ok(Write::Put(sealed, about))
    }
}

/// Tokens of a third party.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = AuthTokens)]
pub struct AuthTokenView {
    /// The access token.
    #[schema(value_type = String)]
    access_token: Zeroizing<String>,
    /// The refresh token, if the provider gave one.
    #[schema(value_type = Option<String>)]
    refresh_token: Option<Zeroizing<String>>,
    /// End of the access token; null = it does not end.
    access_expires_at: Option<DateTime<Utc>>,
    /// End of the refresh token; null = it does not end.
    refresh_expires_at: Option<DateTime<Utc>>,
    /// Grows by one with each change.
    version: u64,
    updated_at: DateTime<Utc>,
}

impl AuthTokenView {
    pub(super) fn new(opened: &Opened) -> Result<Self, Problem> {
        let tokens = opened.tokens()?;
        let time = |seconds: Option<i64>| seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        Ok(Self {
            access_token: tokens.access_token,
            refresh_token: tokens.refresh_token,
            access_expires_at: time(opened.about.access_expires_at),
            refresh_expires_at: time(opened.about.refresh_expires_at),
            version: opened.revision.version,
            updated_at: opened.updated_at,
        })
    }

    /// Tokens that were written a moment ago.
    pub(super) fn written(tokens: AuthTokens, done: &Done) -> Result<Self, Problem> {
        let revision = done.revision.ok_or_else(|| place::missing(Store::AuthTokens))?;
        Ok(Self {
            access_token: tokens.pair.access_token,
            refresh_token: tokens.pair.refresh_token,
            access_expires_at: tokens.access_expires_at.and_then(whole),
            refresh_expires_at: tokens.refresh_expires_at.and_then(whole),
            version: revision.version,
            updated_at: done.at,
        })
    }
}

/// To the second, as it is kept.
fn whole(at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(at.timestamp(), 0)
}

fn at(request: &HttpRequest) -> Result<Place, Problem> {
    place::of_path(Target::AuthToken, TOKENS, request.uri().path())
}

/// Reads the tokens of a user with a provider. Those of a provider that is configured are refreshed when the access token ends within 15 min, once
/// in the whole cluster.
///
/// # Errors
/// `not_found`; `reauth_required` when both tokens have ended or the provider refuses them: they are deleted; `refresh_in_progress`, or
/// `provider_unavailable`, when the access token has ended and there is no new one yet; `key_state_conflict` when their row was changed from outside.
#[utoipa::path(get, path = "/v1/auth-tokens/{user}/{provider}", tag = "stores", params(("user" = Owner, Path), ("provider" = ProviderName, Path)), responses(
    (status = 200, description = "The tokens", body = AuthTokenView,
        headers(("ETag" = String, description = "For If-Match"))),
))]
pub async fn show(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
) -> Result<HttpResponse, Problem> {
    let place = at(&request)?;
    let opened = state.providers.current(&caller.context_of_part(), &place).await?;
    note_place(&request, &state, &place);
    Ok(shown(HttpResponse::Ok(), opened.revision, &AuthTokenView::new(&opened)?))
}

/// Writes the tokens of a user with a provider, new or anew; `If-Match` and `If-None-Match` make it conditional.
///
/// # Errors
/// `invalid_request`, `payload_too_large`, `precondition_failed`.
#[utoipa::path(put, path = "/v1/auth-tokens/{user}/{provider}", tag = "stores", params(("user" = Owner, Path), ("provider" = ProviderName, Path)), request_body = AuthTokenBody, responses(
    (status = 200, description = "The tokens; there were some before", body = AuthTokenView,
        headers(("ETag" = String, description = "For If-Match"))),
    (status = 201, description = "The tokens, which are new", body = AuthTokenView,
        headers(("ETag" = String, description = "For If-Match"))),
))]
pub async fn put(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    StrictJson(given): StrictJson<AuthTokenBody>,
) -> Result<HttpResponse, Problem> {
    let place = at(&request)?;
    let condition = conditions::of_headers(&request)?;
    let write = Change { place: place.clone(), condition, write: given.write()? };
    let done = change(&state, &caller, Permission::AuthTokenWrite, &[], write).await?;
    note_place(&request, &state, &place);
    let revision = done.revision.ok_or_else(|| place::missing(Store::AuthTokens))?;
    let response = if done.is_new { HttpResponse::Created() } else { HttpResponse::Ok() };
    let view = AuthTokenView {
        access_token: given.access_token,
        refresh_token: given.refresh_token,
        access_expires_at: given.access_expires_at.and_then(whole),
        refresh_expires_at: given.refresh_expires_at.and_then(whole),
        version: revision.version,
        updated_at: done.at,
    };
    Ok(shown(response, revision, &view))
}

/// Deletes the tokens of a user with a provider.
///
/// # Errors
/// `not_found`, `precondition_failed`.
#[utoipa::path(delete, path = "/v1/auth-tokens/{user}/{provider}", tag = "stores", params(("user" = Owner, Path), ("provider" = ProviderName, Path)), responses(
    (status = 204, description = "Deleted"),
))]
pub async fn delete(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
) -> Result<HttpResponse, Problem> {
    delete_at(&request, &state, &caller, (at(&request)?, Permission::AuthTokenDelete)).await
}
