//! Secrets of owners.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use chrono::{DateTime, Utc};
use claviger_actors::stores::{About, Change, Listed, Opened, Place, Store, Write, text_to_bytes};
use claviger_entity::{KeyName, Owner, SecretName};
use claviger_policy::{Permission, Target};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    change, conditions, delete as delete_at, described, fitting,
    foreign::{self, Exported},
    note_place, place, shown,
};
use crate::http::{
    body::{StrictJson, StrictQuery},
    page::{from_cursor, limit, to_cursor},
    problem::{Code, Problem},
    state::{AppState, Caller},
};

const SECRET: &str = "/v1/secrets/{owner}/{name}";
/// Rows that are read at once for a listing of which the caller may see only a part.
const CHUNK: usize = 200;
/// How many times.
const CHUNKS: usize = 20;

/// A secret to write.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretBody {
    /// The value: a text.
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 65_536, format = Password)]
    value: Option<Zeroizing<String>>,
    /// In place of the value: the value as another system keeps it, `clv:<kid>:…`, a JWE of `{"v": "<text>"}`, a Fernet token or base64 of
    /// one. It is opened, and sealed as any other.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 163_840)]
    ciphertext: Option<Zeroizing<String>>,
    /// The key that `ciphertext` was made with; needs `key.decrypt` on it.
    #[serde(default)]
    key: Option<KeyName>,
    /// What it is for; kept in clear.
    #[serde(default)]
    #[schema(max_length = 1024)]
    description: Option<String>,
}

/// A secret.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Secret)]
pub struct SecretView {
    /// The value.
    #[schema(value_type = String)]
    value: Zeroizing<String>,
    description: Option<String>,
    /// Grows by one with each change.
    version: u64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl SecretView {
    pub(super) fn new(opened: Opened) -> Result<Self, Problem> {
        Ok(Self {
            value: opened.text()?,
            version: opened.revision.version,
            created_at: opened.created_at,
            updated_at: opened.updated_at,
            description: opened.about.description,
        })
    }
}

/// A secret without its value.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = SecretInfo)]
pub struct SecretInfo {
    name: SecretName,
    description: Option<String>,
    /// Absent, with the rest, when its row was changed from outside.
    version: Option<u64>,
    created_at: Option<DateTime<Utc>>,
    updated_at: Option<DateTime<Utc>>,
}

impl SecretInfo {
    fn new(listed: Listed) -> Self {
        Self {
            name: listed.name,
            description: listed.description,
            version: listed.revision.map(|revision| revision.version),
            created_at: listed.created_at,
            updated_at: listed.updated_at,
        }
    }
}

/// A page of secrets, by name.
#[derive(Serialize, utoipa::ToSchema)]
pub struct SecretPage {
    items: Vec<SecretInfo>,
    /// Absent on the last page.
    next_cursor: Option<String>,
}

/// Versions of a secret, newest first.
#[derive(Serialize, utoipa::ToSchema)]
pub struct SecretVersions {
    /// The present version and the nine before it, as far as there were so many.
    items: Vec<SecretInfo>,
}

/// In what form a value is answered.
#[derive(Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum Form {
    /// As a compact JWE of `{"v": "<text>"}`.
    Jwe,
}

/// Which version, in what form.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WhichVersion {
    /// One of those that are kept; the present one unless given.
    #[param(minimum = 1)]
    version: Option<u64>,
    /// `jwe` = not in clear, but as systems keep it that are still to move; needs `key`.
    #[serde(rename = "as")]
    #[param(inline)]
    form: Option<Form>,
    /// The key for that; needs `key.encrypt` on it.
    key: Option<KeyName>,
}

/// A secret, or its value for another system.
#[derive(utoipa::ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "for the document")]
enum SecretAnswer {
    /// In clear.
    Secret(SecretView),
    /// With `as`.
    Exported(Exported),
}

/// Which page of a list.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SecretListing {
    /// Items of a page: 100 unless given, at most 1,000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

fn at(request: &HttpRequest) -> Result<Place, Problem> {
    place::of_path(Target::Secret, SECRET, request.uri().path())
}

/// Reads a secret, as it is or as it was in one of the last ten versions.
///
/// # Errors
/// `not_found`; `key_state_conflict` when its row was changed from outside.
#[utoipa::path(get, path = "/v1/secrets/{owner}/{name}", tag = "stores", params(("owner" = Owner, Path), ("name" = SecretName, Path), WhichVersion), responses(
    (status = 200, description = "The secret", body = SecretAnswer,
        headers(("ETag" = String, description = "For If-Match"))),
))]
pub async fn show(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    StrictQuery(which): StrictQuery<WhichVersion>,
) -> Result<HttpResponse, Problem> {
    let place = at(&request)?;
    if which.form.is_some() != which.key.is_some() {
        return Err(Problem::invalid("as and key go together"));
    }
    let found = match which.version {
        Some(version) => state.stores.read_version(&place, version).await,
        None => state.stores.read(&place).await,
    }?;
    let opened = found.ok_or_else(|| place::missing(Store::Secrets))?;
    note_place(&request, &state, &place);
    if let Some(key) = &which.key {
        let exported = foreign::exported(&state, &caller, key, &opened.text()?).await?;
        return Ok(shown(HttpResponse::Ok(), opened.revision, &exported));
    }
    Ok(shown(HttpResponse::Ok(), opened.revision, &SecretView::new(opened)?))
}

/// Writes a secret, new or anew. `If-Match` and `If-None-Match` make it conditional: of several who write at once on one state, one does.
///
/// # Errors
/// `invalid_request`, `payload_too_large`, `precondition_failed`.
#[utoipa::path(put, path = "/v1/secrets/{owner}/{name}", tag = "stores", params(("owner" = Owner, Path), ("name" = SecretName, Path)), request_body = SecretBody, responses(
    (status = 200, description = "The secret, which was there before", body = SecretView,
        headers(("ETag" = String, description = "For If-Match"))),
    (status = 201, description = "The secret, which is new", body = SecretView,
        headers(("ETag" = String, description = "For If-Match"))),
))]
pub async fn put(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    StrictJson(given): StrictJson<SecretBody>,
) -> Result<HttpResponse, Problem> {
    let place = at(&request)?;
    let condition = conditions::of_headers(&request)?;
    let description = described(given.description)?;
    let text = foreign::given(&state, &caller, given.value, (given.ciphertext, given.key)).await?;
    let value = fitting(text_to_bytes(&text))?;
    let about = About { description: description.clone(), ..About::default() };
    let write = Change { place: place.clone(), condition, write: Write::Put(value, about) };
    let done = change(&state, &caller, Permission::SecretWrite, write).await?;
    note_place(&request, &state, &place);
    let revision = done.revision.ok_or_else(|| place::missing(Store::Secrets))?;
    let response = if done.is_new { HttpResponse::Created() } else { HttpResponse::Ok() };
    let view = SecretView {
        value: text,
        description,
        version: revision.version,
        created_at: done.created_at,
        updated_at: done.at,
    };
    Ok(shown(response, revision, &view))
}

/// Deletes a secret with its history.
///
/// # Errors
/// `not_found`, `precondition_failed`.
#[utoipa::path(delete, path = "/v1/secrets/{owner}/{name}", tag = "stores", params(("owner" = Owner, Path), ("name" = SecretName, Path)), responses(
    (status = 204, description = "Deleted"),
))]
pub async fn delete(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
) -> Result<HttpResponse, Problem> {
    delete_at(&request, &state, &caller, (at(&request)?, Permission::SecretDelete)).await
}

/// Lists the versions of a secret that are kept, without values.
///
/// # Errors
/// `not_found`.
#[utoipa::path(get, path = "/v1/secrets/{owner}/{name}/versions", tag = "stores", params(("owner" = Owner, Path), ("name" = SecretName, Path)), responses(
    (status = 200, description = "The versions", body = SecretVersions),
))]
pub async fn versions(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let place = place::of_path(Target::Secret, "/v1/secrets/{owner}/{name}/versions", request.uri().path())?;
    let versions = state.stores.versions(&place).await?;
    if versions.is_empty() {
        return Err(place::missing(Store::Secrets));
    }
    note_place(&request, &state, &place);
    let items = versions.into_iter().map(SecretInfo::new).collect();
    Ok(HttpResponse::Ok().json(SecretVersions { items }))
}

/// Lists secrets of an owner, without values. Of an owner of whom the caller may see nothing there is nothing.
///
/// # Errors
/// `invalid_request`, `not_found`.
#[utoipa::path(get, path = "/v1/secrets/{owner}", tag = "stores", params(("owner" = Owner, Path), SecretListing), responses(
    (status = 200, description = "A page", body = SecretPage),
))]
pub async fn list(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    StrictQuery(listing): StrictQuery<SecretListing>,
) -> Result<HttpResponse, Problem> {
    caller.decided();
    let limit = limit(listing.limit)?;
    let owner = place::owner("/v1/secrets/{owner}", request.uri().path())?;
    let mut after: Option<SecretName> = listing.cursor.as_deref().map(from_cursor).transpose()?;
    let may_list = |name: &str| {
        let (snapshot, asked) = (state.ring.snapshot(), (Store::Secrets, &owner, name));
        state.authorizer.permits_stored(&snapshot, &caller.identity, Permission::SecretList, asked)
    };
    let (mut items, mut is_over) = (Vec::new(), false);
    for _ in 0..CHUNKS {
        let wanted = CHUNK.max(limit - items.len());
        let rows = state.stores.list(&owner, after.clone(), wanted).await?;
        is_over = rows.len() < wanted;
        for row in rows {
            if items.len() == limit {
                is_over = false;
                break;
            }
            after = Some(row.name.clone());
            if may_list(row.name.as_str()) {
                items.push(SecretInfo::new(row));
            }
        }
        if is_over || items.len() == limit {
            break;
        }
    }
    if items.is_empty() && !may_list("") {
        return Err(
            Problem::new(Code::NotFound, "there are no secrets of this owner").recorded_as(Code::Forbidden)
        );
    }
    let next_cursor = after.filter(|_| !is_over).map(|name| to_cursor(name.as_str()));
    Ok(HttpResponse::Ok().json(SecretPage { items, next_cursor }))
}
