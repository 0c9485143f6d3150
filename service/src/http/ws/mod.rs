//! WebSocket sessions: the second door to the same service.
//!
//! A request on one of these paths becomes a session ([`open`]); who it is, is judged within it ([`authorization`], [`pairing`]). What it
//! calls goes through the door of REST like any request ([`calls`], [`inside`]), under the credential of the session, which is judged anew
//! each time; and a session whose credential is gone is ended at once ([`watch`]). Frames touch one file ([`framing`]).

mod authorization;
mod calls;
mod framing;
mod hello;
mod inside;
mod listening;
mod opening;
mod pairing;
mod record;
pub mod ring;
mod sessions;
mod watch;

use std::{
    cell::{OnceCell, RefCell},
    rc::Rc,
    sync::{Arc, OnceLock},
    time::Duration,
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{HOST, HeaderName, ORIGIN, USER_AGENT},
    web::{Data, Payload},
};
use claviger_actors::{
    events::Topics,
    session::{SessionHandle, Voice, core::Entrance},
};
use uuid::Uuid;

use self::{
    authorization::Came,
    framing::Frames,
    opening::{Opening, Wish},
    sessions::{Entry, Place},
};
use super::{
    body,
    problem::{Code, Problem},
    state::AppState,
};

pub use self::{inside::Inside, sessions::Sessions, watch::watch};

/// Sessions of a node.
const SESSIONS_MAX: usize = 20_000;

/// Opens a session (WebSocket, RFC 6455): calls by name, and events. The protocol is in the documentation.
///
/// # Errors
/// `invalid_request`, `rate_limited`, `overloaded`.
#[utoipa::path(get, path = "/v1/ws", tag = "sessions", responses(
    (status = 101, description = "The connection is a session now"),
    (status = 400, description = "It is no upgrade to WebSocket", body = super::problem::ProblemBody, content_type = "application/problem+json"),
    (status = 429, description = "Too many connections of this address wait to be recognised", body = super::problem::ProblemBody, content_type = "application/problem+json"),
    (status = 503, description = "The node is leaving, or has as many sessions as it can serve", body = super::problem::ProblemBody, content_type = "application/problem+json"),
))]
pub async fn general(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    open(&request, payload, state, Wish::Nothing)
}

/// The same, told of one topic from its beginning: the name of a key or of an event, or `*`.
///
/// # Errors
/// As `/v1/ws`; `invalid_request` when it is no topic.
#[utoipa::path(get, path = "/sockets/events/{topic}", tag = "sessions", params(("topic" = String, Path)), responses(
    (status = 101, description = "The connection is a session now"),
    (status = 400, description = "It is no upgrade to WebSocket, or no topic", body = super::problem::ProblemBody, content_type = "application/problem+json"),
    (status = 429, description = "Too many connections of this address wait to be recognised", body = super::problem::ProblemBody, content_type = "application/problem+json"),
    (status = 503, description = "The node is leaving, or has as many sessions as it can serve", body = super::problem::ProblemBody, content_type = "application/problem+json"),
))]
pub async fn topic(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let topics = body::segment(&request, "topic", |topic| Topics::parse(Some(&[topic.to_owned()])).ok());
    let topics =
        topics.ok_or_else(|| Problem::invalid("a topic is the name of a key, the name of an event, or *"))?;
    open(&request, payload, state, Wish::Topics(topics))
}

fn open(
    request: &HttpRequest,
    payload: Payload,
    state: Data<AppState>,
    wish: Wish,
) -> Result<HttpResponse, Problem> {
    let nothing = || Problem::new(Code::NotFound, "there is nothing at this path");
    let inside = request.app_data::<Inside>().cloned().ok_or_else(nothing)?;
    if state.is_draining() {
        return Err(Problem::new(Code::Overloaded, "the node is leaving; connect to another one"));
    }
    if state.sessions.len() >= SESSIONS_MAX {
        return Err(Problem::new(
            Code::Overloaded,
            "the node has as many sessions as it can serve; try another one",
        ));
    }
    let came = Came::of(&state, request);
    let full = || {
        let detail = "too many connections wait to be recognised; finish a handshake, or wait";
        Problem::new(Code::RateLimited, detail).retry_after(Duration::from_secs(1))
    };
    let place = Place::take(&state, came.whence.client).ok_or_else(full)?;
    let voice = Voice::within(state.sessions.ledger());
    let response = framing::upgrade(request, voice.outbox(), state.sessions.socket())?;

    let (id, nonce) = (Uuid::new_v4(), Uuid::new_v4().hyphenated().to_string());
    let text = |name: HeaderName| {
        request.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let entrance = Entrance {
        nonce: nonce.clone(),
        origin: text(ORIGIN),
        host: text(HOST),
        is_lenient: state.doors.local_without_nonce && came.whence.is_local_direct,
        needs_device: state.doors.require_device,
    };
    tracing::debug!(
        session = %id, client = %came.whence.client, origin = entrance.origin, user_agent = text(USER_AGENT),
        "a session was asked for"
    );
    let entry = Arc::new(Entry { handle: SessionHandle::of(&voice), known: OnceLock::new() });
    state.sessions.enter(id, Arc::clone(&entry));
    let timeout = state.doors.handshake_timeout;
    let opening = Rc::new(Opening {
        state,
        inside,
        came,
        entrance: RefCell::new(Some(Box::new(entrance))),
        id,
        voice: voice.clone(),
        wish,
        entry,
        place: RefCell::new(Some(place)),
        client: OnceCell::new(),
        listener: RefCell::default(),
        turns: Arc::default(),
        seat: RefCell::default(),
        present: RefCell::default(),
    });
    SessionHandle::start(|limit| Frames::new(payload, limit), voice, opening, nonce, timeout);
    Ok(response)
}
