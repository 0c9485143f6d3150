//! `PATCH /v1/keys/{name}`.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web::Data};
use claviger_actors::keyring::core::UpdateKey;
use claviger_entity::{KeyName, RotationPolicy, VersionNumber, domain::claims::ClaimRules};
use serde_json::{Map, Value};

use super::{after_change, note_key, shown, view::KeyView};
use crate::http::{
    body::{PathName, StrictJson, if_match},
    problem::Problem,
    state::{AppState, Caller},
};

/// What may change; null puts a member back to its default.
#[derive(utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "for the document alone: a merge patch is applied as it came, see RFC 7396")]
pub struct KeyPatch {
    /// Merged into the policy in force.
    rotation: Option<RotationPolicy>,
    /// Merged into the labels: null removes one.
    labels: Option<BTreeMap<String, Option<String>>>,
    /// Merged into the rules in force.
    claims: Option<ClaimRules>,
    #[schema(max_length = 1024)]
    description: Option<String>,
    deletion_allowed: Option<bool>,
    /// Versions before this one do not decrypt.
    min_decryption_version: Option<VersionNumber>,
}

/// Changes settings by an RFC 7396 merge patch of `rotation`, `labels`, `claims`, `description`, `deletion_allowed` and
/// `min_decryption_version`; `If-Match` makes it conditional.
///
/// # Errors
/// `invalid_request`, `key_not_found`, `precondition_failed`.
#[utoipa::path(patch, path = "/v1/keys/{name}", tag = "keys", params(("name" = KeyName, Path)), request_body = KeyPatch, responses(
    (status = 200, description = "The key", body = KeyView,
        headers(("ETag" = String, description = "For If-Match"))),
))]
pub async fn update(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    PathName(name): PathName,
    StrictJson(patch): StrictJson<Map<String, Value>>,
) -> Result<HttpResponse, Problem> {
    note_key(&request, &state, &name);
    let revision = state.ring.snapshot().key(&name)?.record.revision;
    let if_match = if_match(&request, Some(revision), "key")?;
    let applied = state.ring.update(caller.context(), UpdateKey { name, patch, if_match }).await?;
    let (snapshot, key) = after_change(&state, &request, &applied.subject.name)?;
    Ok(shown(HttpResponse::Ok(), &key, &KeyView::new(&snapshot, &key)))
}
