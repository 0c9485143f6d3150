//! `PATCH /v1/keys/{name}`.

use actix_web::{HttpRequest, HttpResponse, http::header, web::Data};
use claviger_actors::keyring::core::UpdateKey;
use serde_json::{Map, Value};

use super::{after_change, note_key, shown, view::KeyView};
use crate::http::{
    body::{PathName, StrictJson},
    problem::{Code, Problem, ProblemBody},
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
    let if_match = if_match(&request, revision)?;
    let applied = state.ring.update(caller.context(), UpdateKey { name, patch, if_match }).await?;
    let (snapshot, key) = after_change(&state, &request, &applied.subject.name)?;
    Ok(shown(HttpResponse::Ok(), &key, &KeyView::new(&snapshot, &key)))
}

/// The revision that must still be there when the change is made (RFC 9110 §13.1.1).
fn if_match(request: &HttpRequest, current: u64) -> Result<Option<u64>, Problem> {
    let Some(value) = request.headers().get(header::IF_MATCH) else { return Ok(None) };
    let tags = value.to_str().map_err(|_| Problem::invalid("If-Match must hold entity tags"))?;
    let tag = format!("\"{current}\"");
    if tags.split(',').map(str::trim).any(|given| given == "*" || given == tag) {
        Ok(Some(current))
    } else {
        Err(Problem::new(
            Code::PreconditionFailed,
            "the key has changed since the ETag that If-Match names; read it again",
        ))
    }
}
