//! What sessions ask for and anybody else may too: who is connected, and the public state of the ring.

use std::sync::Arc;

use actix_web::{HttpResponse, http::header, web::Data};
use claviger_actors::events::{Presence, Topics};
use serde::Serialize;

use crate::{
    auth::sight,
    http::{
        problem::Problem,
        state::{AppState, Caller},
    },
};

/// Who is connected.
#[derive(Serialize)]
struct Present {
    items: Vec<Presence>,
}

/// Sessions that are open, on whichever node: a thousand at most, those of this node first. The members are camelCase, as in events.
///
/// # Errors
/// None of its own.
#[utoipa::path(get, path = "/v1/presence", tag = "sessions", responses((status = 200, description = "Sessions", body = Object)))]
pub async fn presence(state: Data<AppState>) -> HttpResponse {
    HttpResponse::Ok().json(Present { items: state.events.presence().await })
}

/// The public state of the ring at one epoch: the JWKS, and the versions of each key that the caller may read, with their states. The payload of
/// the event `ring.sync`.
///
/// # Errors
/// None of its own.
#[utoipa::path(get, path = "/v1/ring", tag = "sessions", responses((status = 200, description = "The ring", body = Object)))]
pub async fn ring(state: Data<AppState>, caller: Caller) -> Result<HttpResponse, Problem> {
    let sight = sight(&state, Arc::clone(&caller.identity));
    let sync = state.events.ring_sync(&Topics::all(), &sight).await;
    let answer = HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .body(sync.payload.as_ref().to_owned());
    Ok(answer)
}
