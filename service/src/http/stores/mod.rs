//! What is stored for others: secrets, tokens of third parties, offline tokens.
//!
//! The door asks whether the caller may do this at the place that the path names, before anybody knows whether something is there. A
//! value is read in one statement, opened, recorded, and only then answered.

pub mod auth_token_batch;
pub mod auth_tokens;
pub mod batch;
mod conditions;
mod failure;
pub mod foreign;
pub mod offline_tokens;
pub(crate) mod place;
pub mod providers;
pub mod secret_batch;
pub mod secrets;

use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, http::header, web::Data};
use claviger_actors::{
    audit::Subject,
    stores::{Change, Done, Place, Revision, VALUE_MAX, Wanted, Write},
};
use claviger_crypto::secret::SecretBytes;
use claviger_entity::{KeyName, Kid};
use claviger_policy::Permission;

use super::{
    keys::note,
    problem::{Code, Problem},
    state::{AppState, Caller},
};

/// Longest description, in characters.
const DESCRIPTION_MAX: usize = 1_024;

/// An answer about what is at a place, with its entity tag.
fn shown(
    mut response: HttpResponseBuilder,
    revision: Revision,
    view: &impl serde::Serialize,
) -> HttpResponse {
    response.insert_header((header::ETAG, revision.tag())).json(view)
}

/// A version of a key that has opened or sealed a value as another system keeps it.
type Version = (KeyName, Kid);

/// Tells the door what the record is about, once it is known to be there.
fn note_place(request: &HttpRequest, state: &AppState, place: &Place) {
    note_place_with(request, state, place, None);
}

/// As [`note_place`], where a key of the caller's was used too.
fn note_place_with(request: &HttpRequest, state: &AppState, place: &Place, used: Option<&Version>) {
    let owner = state.ring.snapshot().audit_hash(place.owner().as_str());
    let item = Some(place.name().to_owned()).filter(|name| !name.is_empty());
    let key = used.map(|(key, _)| key.to_string());
    let kid = used.map(|(_, kid)| kid.to_string());
    note(request, Subject { key, kid, ..Subject::of_stored(owner, item) });
}

/// A value that is to be stored, if it is not too long.
fn fitting(value: SecretBytes) -> Result<SecretBytes, Problem> {
    if value.is_empty() {
        return Err(Problem::invalid("a value must not be empty"));
    }
    if value.len() > VALUE_MAX {
        return Err(Problem::new(Code::PayloadTooLarge, "a value has at most 65536 bytes"));
    }
    Ok(value)
}

fn described(description: Option<String>) -> Result<Option<String>, Problem> {
    let is_long = description.as_ref().is_some_and(|text| text.chars().count() > DESCRIPTION_MAX);
    // PostgreSQL takes no zero byte.
    let is_odd = description.as_ref().is_some_and(|text| text.contains('\0'));
    if is_long || is_odd {
        return Err(Problem::invalid("description has at most 1024 characters, and no zero byte"));
    }
    Ok(description)
}

/// Makes one change.
async fn change(
    state: &Data<AppState>,
    caller: &Caller,
    operation: Permission,
    opened_with: &[Version],
    change: Change,
) -> Result<Done, Problem> {
    let store = change.place.store();
    let context = caller.context();
    let operation = operation.as_str();
    let wanted =
        Wanted { operation, is_batch: false, context: &context, still_may: None, opened_with, lease: None };
    let outcome = state.stores.change_one(wanted, change).await?;
    let fault = || Problem::new(Code::Internal, "the service failed; its log says why");
    outcome.ok_or_else(fault)?.map_err(|refusal| failure::refused(refusal, store))
}

/// Deletes what is at the place that the path names.
async fn delete(
    request: &HttpRequest,
    state: &Data<AppState>,
    caller: &Caller,
    (place, permission): (Place, Permission),
) -> Result<HttpResponse, Problem> {
    let condition = conditions::of_headers(request)?;
    let removal = Change { place: place.clone(), condition, write: Write::Delete };
    change(state, caller, permission, &[], removal).await?;
    note_place(request, state, &place);
    Ok(HttpResponse::NoContent().finish())
}
