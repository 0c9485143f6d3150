//! Who asks, and what those are told whom nobody knows.

use std::sync::Arc;

use actix_web::{HttpMessage as _, dev::ServiceRequest, http::header};
use chrono::{DateTime, Utc};

use super::{
    problem::{Code, Problem},
    state::AppState,
};
use crate::auth::{self, Identity, InSession, Known, Learned, Peer, Refusal};

/// Asks elsewhere for a key that would be needed to recognise the caller.
pub(super) async fn learn(state: &AppState, request: &ServiceRequest) -> Learned {
    let standing = request.extensions().get::<InSession>().map(|session| Arc::clone(&session.0));
    let credential = match &standing {
        Some(standing) => standing.credential(),
        None => auth::credential(request.headers()),
    };
    match credential {
        Some(credential) => auth::learn(&state.issuers, credential).await,
        None => Learned::Nothing,
    }
}

/// Who asks: the holder of the session that the request comes from, of the credential that it brings, or, without one, of the certificate of its
/// connection.
pub(super) fn recognise(
    state: &AppState,
    known: Known<'_>,
    request: &ServiceRequest,
    now: DateTime<Utc>,
) -> Result<Identity, Refusal> {
    if let Some(session) = request.extensions().get::<InSession>() {
        let identity = session.0.identity(known, now)?;
        identity.used(now);
        return Ok(identity);
    }
    let peer = request.conn_data::<Arc<Peer>>();
    if let Some(peer) = peer {
        // Whatever else is sent: it comes from where nobody is let in any more.
        peer.still(now)?;
    }
    let headers = request.headers();
    if headers.contains_key(header::AUTHORIZATION) {
        let credential = auth::credential(headers).ok_or(Refusal::Unknown)?;
        return auth::authenticate(known, credential, now);
    }
    let identity = peer.and_then(|peer| peer.identity()).ok_or(Refusal::Unknown)?;
    let is_for_others = state.addresses.whence(request.peer_addr(), headers).by_proxy;
    if is_for_others || auth::is_of_strange_page(headers, &state.doors.cors_origins) {
        return Err(Refusal::Unknown);
    }
    if identity.is_shut_out(known.snapshot) { Err(Refusal::Revoked) } else { Ok(Identity::clone(identity)) }
}

/// The key of an issuer can't be had now.
pub(super) fn issuer_away() -> Problem {
    let detail =
        "the token names a key that is not known, and its issuer can't be asked for it now; try again";
    Problem::new(Code::IssuerUnavailable, detail)
}

/// What a refusal says to whom it turns away.
pub(super) fn unauthorized(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::Unknown => Problem::new(
            Code::Unauthorized,
            "send a valid API key or token as Authorization: Bearer <credential>",
        ),
        Refusal::Revoked => Problem::new(Code::TokenRevoked, "the token was revoked; get a new one"),
        Refusal::Certificate => Problem::new(
            Code::Unauthorized,
            "the certificate of this connection has expired or was revoked; connect with a new one",
        ),
        Refusal::Expired => Problem::new(Code::TokenExpired, "the token has expired; get a new one"),
    }
}
