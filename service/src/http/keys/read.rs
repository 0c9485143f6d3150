//! Looking at keys.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web::Data};
use claviger_actors::keyring::record::{Key, VersionRecord};
use claviger_entity::{KeyName, Tier, VersionNumber};
use claviger_policy::Permission;
use serde::{Deserialize, Serialize};

use super::{
    note_key, shown,
    view::{KeyView, VersionView},
};
use crate::http::{
    body::{PathName, StrictQuery},
    page::{self, from_cursor, limit, page},
    problem::Problem,
    state::{AppState, Caller},
};

/// Which keys to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct KeyListing {
    /// Items of a page: 100 unless given, at most 1,000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Keys of this tier only.
    tier: Option<Tier>,
    /// Keys with this label only: `name` or `name=value`.
    label: Option<String>,
}

/// A page of keys, by name.
#[derive(Serialize, utoipa::ToSchema)]
pub struct KeyPage {
    items: Vec<KeyView>,
    /// Absent on the last page.
    next_cursor: Option<String>,
}

/// A page of versions, newest first.
#[derive(Serialize, utoipa::ToSchema)]
pub struct VersionPage {
    items: Vec<VersionView>,
    /// Absent on the last page.
    next_cursor: Option<String>,
}

/// Lists keys.
///
/// # Errors
/// `invalid_request`.
#[utoipa::path(get, path = "/v1/keys", tag = "keys", params(KeyListing), responses(
    (status = 200, description = "A page", body = KeyPage),
))]
pub async fn list(
    state: Data<AppState>,
    caller: Caller,
    StrictQuery(listing): StrictQuery<KeyListing>,
) -> Result<HttpResponse, Problem> {
    let snapshot = state.ring.snapshot();
    caller.decided();
    let limit = limit(listing.limit)?;
    let after: Option<KeyName> = listing.cursor.as_deref().map(from_cursor).transpose()?;
    let label = listing
        .label
        .as_deref()
        .map(|label| label.split_once('=').map_or((label, None), |(name, value)| (name, Some(value))));
    let is_wanted = |key: &&Arc<Key>| {
        let record = &key.record;
        let labelled = label.is_none_or(|(name, value)| {
            record.labels.get(name).is_some_and(|given| value.is_none_or(|value| value == given))
        });
        !record.name.is_internal()
            && record.deleted_at.is_none()
            && listing.tier.is_none_or(|tier| tier == record.tier)
            && labelled
            && state.authorizer.permits_key(&snapshot, &caller.identity, Permission::KeyRead, record)
    };
    let all = snapshot.ring().keys_after(after.as_ref());
    let view = |key: &&Arc<Key>| KeyView::new(&snapshot, key);
    let (items, next_cursor) =
        page(all, is_wanted, limit, view, |key| key.record.name.as_str().to_owned()).await;
    Ok(HttpResponse::Ok().json(KeyPage { items, next_cursor }))
}

/// Shows a key, with its `ETag`.
///
/// # Errors
/// `key_not_found`.
#[utoipa::path(get, path = "/v1/keys/{name}", tag = "keys", params(("name" = KeyName, Path)), responses(
    (status = 200, description = "The key", body = KeyView,
        headers(("ETag" = String, description = "For If-Match"))),
))]
pub async fn key(
    request: HttpRequest,
    state: Data<AppState>,
    PathName(name): PathName,
) -> Result<HttpResponse, Problem> {
    note_key(&request, &state, &name);
    let snapshot = state.ring.snapshot();
    let key = snapshot.key(&name)?;
    Ok(shown(HttpResponse::Ok(), key, &KeyView::new(&snapshot, key)))
}

/// Lists all versions of a key, newest first.
///
/// # Errors
/// `key_not_found`, `invalid_request`.
#[utoipa::path(get, path = "/v1/keys/{name}/versions", tag = "keys", params(("name" = KeyName, Path), page::Listing), responses(
    (status = 200, description = "A page", body = VersionPage),
))]
pub async fn versions(
    request: HttpRequest,
    state: Data<AppState>,
    PathName(name): PathName,
    StrictQuery(listing): StrictQuery<page::Listing>,
) -> Result<HttpResponse, Problem> {
    note_key(&request, &state, &name);
    let limit = limit(listing.limit)?;
    let before: Option<VersionNumber> = listing.cursor.as_deref().map(from_cursor).transpose()?;
    let snapshot = state.ring.snapshot();
    let key = snapshot.key(&name)?;
    let is_older = |version: &&VersionRecord| before.is_none_or(|before| version.version < before);
    let view = |version: &&VersionRecord| VersionView::new(version);
    let (items, next_cursor) =
        page(key.versions.values().rev(), is_older, limit, view, |version| version.version.to_string()).await;
    Ok(HttpResponse::Ok().json(VersionPage { items, next_cursor }))
}
