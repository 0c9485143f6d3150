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
    foreign::{self, Exported, Given},
    note_place, note_place_with, place, shown,
};
use crate::http::{
    body::{StrictJson, StrictQuery},
    page::{from_cursor, limit, to_cursor},
    problem::{Code, Problem},
    slice::Slice,
    state::{AppState, Caller},
};

const SECRET: &str = "/v1/secrets/{owner}/{name}";
/// Names that are read at once for a listing of which the caller may see only a part.
const NAMES: usize = 1_000;
/// How many times.
const CHUNKS: usize = 100;
/// Rows that are read at once: each comes with its value, which may be long.
const ROWS: usize = 50;

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
    /// The value; absent in the answer to a value that was put as another system keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    value: Option<Zeroizing<String>>,
    description: Option<String>,
    /// Grows by one with each change.
    version: u64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl SecretView {
    pub(super) fn new(opened: Opened) -> Result<Self, Problem> {
        Ok(Self {
            value: Some(opened.text()?),
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
        note_place_with(&request, &state, &place, Some(&(key.clone(), exported.kid.clone())));
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
    let Given { text, opened_with } =
        foreign::given(&state, &caller, given.value, (given.ciphertext, given.key)).await?;
    let value = fitting(text_to_bytes(&text))?;
    let about = About { description: description.clone(), ..About::default() };
    let write = Change { place: place.clone(), condition, write: Write::Put(value, about) };
    let done = change(&state, &caller, Permission::SecretWrite, opened_with.as_slice(), write).await?;
    note_place_with(&request, &state, &place, opened_with.as_ref());
    let revision = done.revision.ok_or_else(|| place::missing(Store::Secrets))?;
    let response = if done.is_new { HttpResponse::Created() } else { HttpResponse::Ok() };
    let view = SecretView {
        // What was opened is for whoever may read it.
        value: opened_with.is_none().then_some(text),
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
    let after: Option<SecretName> = listing.cursor.as_deref().map(from_cursor).transpose()?;
    let is_first = after.is_none();
    let may_list = |name: &str| {
        let (snapshot, asked) = (state.ring.snapshot(), (Store::Secrets, &owner, name));
        state.authorizer.permits_stored(&snapshot, &caller.identity, Permission::SecretList, asked)
    };
    let (names, has_more) = visible(&state, (&owner, after), limit, may_list).await?;
    if names.is_empty() && is_first && !may_list("") {
        return Err(
            Problem::new(Code::NotFound, "there are no secrets of this owner").recorded_as(Code::Forbidden)
        );
    }
    let mut items = Vec::with_capacity(names.len());
    for names in names.chunks(ROWS) {
        let rows = state.stores.list(&owner, names).await?;
        items.extend(rows.into_iter().map(SecretInfo::new));
    }
    let next_cursor = names.last().filter(|_| has_more).map(|name| to_cursor(name));
    Ok(HttpResponse::Ok().json(SecretPage { items, next_cursor }))
}

/// So many names that the caller may see, and whether there are more.
async fn visible(
    state: &AppState,
    (owner, after): (&Owner, Option<SecretName>),
    limit: usize,
    may_list: impl Fn(&str) -> bool,
) -> Result<(Vec<String>, bool), Problem> {
    let mut names = Vec::new();
    let mut after = after.map(|name| name.as_str().to_owned());
    let mut slice = Slice::begin();
    for _ in 0..CHUNKS {
        let found = state.stores.names(owner, after, NAMES).await?;
        let is_over = found.len() < NAMES;
        after = found.last().cloned();
        for name in found {
            slice.rest().await;
            if !may_list(&name) {
                continue;
            }
            if names.len() == limit {
                return Ok((names, true));
            }
            names.push(name);
        }
        if is_over {
            return Ok((names, false));
        }
    }
    if names.is_empty() {
        // A cursor would name one that the caller may not see.
        let detail = "too many secrets of this owner are not yours to list; read those that you know by name";
        return Err(Problem::new(Code::Overloaded, detail));
    }
    Ok((names, true))
}
