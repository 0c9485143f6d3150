//! Several secrets of one owner at once.

use std::collections::BTreeSet;

use actix_web::{HttpRequest, HttpResponse, web::Data};
use chrono::{DateTime, Utc};
use claviger_actors::stores::{About, Change, Place, Write, text_to_bytes};
use claviger_entity::{KeyName, Owner, SecretName};
use claviger_policy::Permission;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    Version,
    batch::{self, ItemResult},
    conditions, described, fitting, foreign, place,
    secrets::SecretView,
};
use crate::http::{
    authority,
    body::StrictJson,
    keys::note,
    problem::Problem,
    slice::Slice,
    state::{AppState, Caller},
};

/// Versions of keys that the ciphertexts of a batch may need: the record names them all.
const VERSIONS_MAX: usize = 16;

/// What is to be read and written: up to 100 items in all. What is put is put first.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretBatch {
    /// Names of secrets to read.
    #[serde(default)]
    #[schema(max_items = 100)]
    get: Vec<SecretName>,
    /// Secrets to write. Each is judged for itself: one that is too long has its problem in its place.
    #[serde(default)]
    #[schema(max_items = 100)]
    put: Vec<SecretPut>,
}

/// A secret to write.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretPut {
    /// Its name.
    name: SecretName,
    /// The value: a text.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Password)]
    value: Option<Zeroizing<String>>,
    /// In place of the value: the value as another system keeps it.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    ciphertext: Option<Zeroizing<String>>,
    /// The key that `ciphertext` was made with; needs `key.decrypt` on it.
    #[serde(default)]
    key: Option<KeyName>,
    /// What it is for; kept in clear.
    #[serde(default)]
    description: Option<String>,
    /// Only on this state, as the header.
    #[serde(default)]
    if_match: Option<String>,
    /// Not on this state, as the header; `*` = only if there is nothing.
    #[serde(default)]
    if_none_match: Option<String>,
}

/// A secret that was read.
#[derive(Serialize, utoipa::ToSchema)]
pub struct SecretGot {
    name: SecretName,
    etag: String,
    #[serde(flatten)]
    secret: SecretView,
}

/// A secret that was written.
#[derive(Serialize, utoipa::ToSchema)]
pub struct SecretWritten {
    name: SecretName,
    etag: String,
    version: u64,
    updated_at: DateTime<Utc>,
}

/// Results, in the order of what was asked.
#[derive(Serialize, utoipa::ToSchema)]
pub struct SecretResults {
    get: Vec<ItemResult<SecretGot>>,
    put: Vec<ItemResult<SecretWritten>>,
}

/// Reads and writes several secrets of one owner. Each item is decided on by itself; all that are written are in one transaction, and
/// a retry with the same `Idempotency-Key` writes nothing again.
///
/// # Errors
/// `invalid_request`; of an item: as of the single routes.
#[utoipa::path(post, path = "/v1/secrets/{owner}:batch", tag = "stores", params(("owner" = Owner, Path)), request_body = SecretBatch, responses(
    (status = 200, description = "The results", body = SecretResults),
))]
pub async fn batch(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    StrictJson(given): StrictJson<SecretBatch>,
) -> Result<HttpResponse, Problem> {
    // Every item is asked about; one that is refused is an item's problem.
    caller.decided();
    let owner = place::owner("/v1/secrets/{owner}:batch", request.uri().path())?;
    let reads: Vec<Place> = given.get.iter().map(|name| Place::secret(owner.clone(), name)).collect();
    let writes: Vec<Place> = given.put.iter().map(|put| Place::secret(owner.clone(), &put.name)).collect();
    batch::judge(reads.len(), writes.iter())?;
    let names: Vec<SecretName> = given.put.iter().map(|put| put.name.clone()).collect();
    let (mut changes, mut opened_with) = (Vec::with_capacity(writes.len()), BTreeSet::new());
    let mut slice = Slice::begin();
    for (put, place) in given.put.into_iter().zip(writes) {
        changes.push(change(&state, &caller, (put, place), &mut opened_with).await);
        slice.rest().await;
    }
    let opened_with: Vec<Version> = opened_with.into_iter().collect();
    let operation = (Permission::SecretWrite, "secret.batch");
    let written = batch::put(&state, &caller, operation, &opened_with, changes).await?;
    let read = batch::get(&state, &caller, Permission::SecretRead, &reads).await?;
    let put: Vec<ItemResult<SecretWritten>> = names
        .into_iter()
        .zip(written)
        .map(|(name, done)| {
            ItemResult::of(done.and_then(|done| {
                let revision = done.revision.ok_or_else(|| Problem::invalid("nothing was written"))?;
                Ok(SecretWritten {
                    name,
                    etag: revision.tag(),
                    version: revision.version,
                    updated_at: done.at,
                })
            }))
        })
        .collect();
    let get: Vec<ItemResult<SecretGot>> = given
        .get
        .into_iter()
        .zip(read)
        .map(|(name, opened)| {
            ItemResult::of(opened.and_then(|opened| {
                let etag = opened.revision.tag();
                Ok(SecretGot { name, etag, secret: SecretView::new(opened)? })
            }))
        })
        .collect();
    let owner = state.ring.snapshot().audit_hash(owner.as_str());
    note(&request, batch::subject((owner, &opened_with), &get, &put));
    Ok(HttpResponse::Ok().json(SecretResults { get, put }))
}

async fn change(
    state: &Data<AppState>,
    caller: &Caller,
    (put, place): (SecretPut, Place),
    opened_with: &mut BTreeSet<Version>,
) -> Result<Change, Problem> {
    // Nothing is opened for somebody who may not write it.
    authority::on_place(state, &state.ring.snapshot(), caller, Permission::SecretWrite, &place)?;
    let condition = conditions::of_texts(put.if_match.as_deref(), put.if_none_match.as_deref())?;
    let about = About { description: described(put.description)?, ..About::default() };
    let given = foreign::given(state, caller, put.value, (put.ciphertext, put.key)).await?;
    if let Some(version) = given.opened_with {
        if opened_with.len() >= VERSIONS_MAX && !opened_with.contains(&version) {
            return Err(Problem::invalid("the ciphertexts of a batch are of at most 16 versions of keys"));
        }
        opened_with.insert(version);
    }
    Ok(Change { place, condition, write: Write::Put(fitting(text_to_bytes(&given.text))?, about) })
}
