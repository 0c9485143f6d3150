//! Keys: their life from creation to destruction. What is done *with* them is in [`super::crypto`] and [`super::tokens`].

pub mod create;
pub mod deletion;
pub mod export;
pub mod import;
pub mod public;
pub mod read;
pub mod rotate;
pub mod spec;
pub mod update;
pub mod versions;
pub mod view;

use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, HttpResponseBuilder, http::header};
use claviger_actors::{audit, keyring::record::Key};
use claviger_entity::KeyName;

use super::{
    problem::Problem,
    state::{AppState, Arrival},
};

/// The answer that shows a key, with its `ETag`.
fn shown(mut response: HttpResponseBuilder, key: &Key, view: &impl serde::Serialize) -> HttpResponse {
    response.insert_header((header::ETAG, format!("\"{}\"", key.record.revision))).json(view)
}

/// The key after a change, for the answer.
fn after_change(
    state: &AppState,
    request: &HttpRequest,
    name: &KeyName,
) -> Result<(std::sync::Arc<claviger_actors::keyring::Snapshot>, std::sync::Arc<Key>), Problem> {
    let snapshot = state.ring.snapshot();
    let key = std::sync::Arc::clone(snapshot.key(name)?);
    note_key(request, state, name);
    Ok((snapshot, key))
}

/// Tells the door which key the record is about. A name that names nothing is not recorded: it may be a secret that was pasted into
/// the wrong place.
pub(super) fn note_key(request: &HttpRequest, state: &AppState, name: &KeyName) {
    if state.ring.snapshot().key(name).is_ok() {
        note(request, audit::Subject { key: Some(name.as_str().to_owned()), ..audit::Subject::default() });
    }
}

/// Tells the door what the record is about.
pub(super) fn note(request: &HttpRequest, subject: audit::Subject) {
    if let Some(arrival) = request.extensions().get::<Arrival>() {
        arrival.noted().note(subject);
    }
}
