//! `POST /v1/keys`.

use actix_web::{HttpRequest, HttpResponse, http::header, web::Data};
use claviger_actors::keyring::core::CreateKey;
use claviger_policy::Permission;

use super::{
    after_change, note_key, shown,
    spec::{NewKey, authorize},
    view::KeyView,
};
use crate::http::{
    body::StrictJson,
    problem::Problem,
    state::{AppState, Caller},
};

/// Creates a key with version 1 active and, unless it is temporary, version 2 as its standby.
///
/// # Errors
/// `invalid_request`, `key_exists`.
#[utoipa::path(post, path = "/v1/keys", tag = "keys", request_body = NewKey, responses(
    (status = 201, description = "The key", body = KeyView,
        headers(("Location" = String, description = "The key"), ("ETag" = String, description = "For If-Match"))),
))]
pub async fn create(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    StrictJson(new): StrictJson<NewKey>,
) -> Result<HttpResponse, Problem> {
    let spec = CreateKey::from(new);
    authorize(&state, &caller, Permission::KeyCreate, &spec)?;
    note_key(&request, &state, &spec.name);
    let applied = state.ring.create(caller.context(), spec).await?;
    let (snapshot, key) = after_change(&state, &request, &applied.subject.name)?;
    let mut response = HttpResponse::Created();
    response.insert_header((header::LOCATION, format!("/v1/keys/{}", key.record.name)));
    Ok(shown(response, &key, &KeyView::new(&snapshot, &key)))
}
