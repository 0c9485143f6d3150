//! `POST /v1/restore/release`: a deployment that was restored from a backup serves as usual again.

use actix_web::{HttpResponse, web::Data};
use claviger_actors::keyring::{RingFailure, core::RingError};
use serde::Serialize;

use super::{
    problem::Problem,
    state::{AppState, Caller},
};

/// It serves as usual.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ReleaseAnswer {
    /// `false`: it was not waiting for that.
    released: bool,
    /// Epoch of the change, or of the ring.
    epoch: u64,
}

/// Releases a deployment that was restored from a backup: from now on it issues and encrypts again, on every node. Whoever asks for it has seen
/// to what was revoked after the backup.
///
/// # Errors
/// `overloaded` when the database does not answer.
#[utoipa::path(post, path = "/v1/restore/release", tag = "operations", responses(
    (status = 200, description = "Released", body = ReleaseAnswer),
))]
pub async fn release(state: Data<AppState>, caller: Caller) -> Result<HttpResponse, Problem> {
    let (released, epoch) = match state.ring.release(caller.context()).await {
        Ok(applied) => (true, applied.epoch),
        Err(RingFailure::Refused(RingError::StateConflict(_))) => (false, state.ring.snapshot().epoch),
        Err(failure) => return Err(failure.into()),
    };
    Ok(HttpResponse::Ok().json(ReleaseAnswer { released, epoch: epoch.0 }))
}
