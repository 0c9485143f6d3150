//! `PATCH /v1/keys/{name}`.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use claviger_actors::keyring::core::UpdateKey;
use serde_json::{Map, Value};

use super::{after_change, note_key, shown, view::KeyView};
use crate::http::{
    body::{PathName, StrictJson, if_match},
    problem::{Problem, ProblemBody},
    state::{AppState, Caller},
};

/// Changes settings by an RFC 7396 merge patch of `rotation`, `labels`, `claims`, `description`, `deletion_allowed` and
/// `min_decryption_version`; `If-Match` makes it conditional.
///
/// # Errors
/// `invalid_request`, `key_not_found`, `precondition_failed`.
#[utoipa::path(patch, path = "/v1/keys/{name}", tag = "keys", params(("name" = String, Path)), request_body = Object, responses(
    (status = 200, description = "The key", body = KeyView),
    (status = "default", description = "A problem", body = ProblemBody),
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
