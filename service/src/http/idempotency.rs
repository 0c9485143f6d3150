//! Retries: the same `Idempotency-Key` gets the same answer for 24 h.
//!
//! Answers are kept sealed, since they may hold secrets. A change of the ring also keeps its outcome in its own transaction, so that
//! a node that dies between commit and answer does not do it twice.

use actix_web::{
    HttpResponse,
    body::to_bytes_limited,
    http::{
        StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
    web::Bytes,
};
use chrono::TimeDelta;
use claviger_actors::{
    audit::Subject,
    keyring::{IdempotencyTicket, Snapshot, internal},
    store::IdempotencyRecord,
};
use claviger_crypto::digest;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    problem::{Code, Problem},
    state::{AppState, Noted},
};

/// How long an answer is kept.
const KEPT_HOURS: i64 = 24;
/// Longest `Idempotency-Key`.
const KEY_MAX_BYTES: usize = 255;
/// Largest answer that is kept.
const ANSWER_MAX_BYTES: usize = 8 << 20;
/// Headers that belong to an answer.
const HEADERS: [HeaderName; 3] = [header::CONTENT_TYPE, header::ETAG, header::LOCATION];

/// An answer as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
    /// What the record of the first request says of it.
    subject: Subject,
}

/// An answer that was given before.
pub(super) struct Replay {
    pub(super) response: HttpResponse,
    pub(super) subject: Subject,
}

/// Judges the header.
pub(super) fn ticket(
    snapshot: &Snapshot,
    scope: String,
    header: &HeaderValue,
    request: &[&[u8]],
) -> Result<IdempotencyTicket, Problem> {
    let key = header.to_str().ok().filter(|key| !key.is_empty() && key.len() <= KEY_MAX_BYTES);
    let key =
        key.ok_or_else(|| Problem::invalid("Idempotency-Key must be 1 to 255 visible ASCII characters"))?;
    let mut bytes = Vec::new();
    for part in request {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    let bytes = Zeroizing::new(bytes);
    // What a request holds may be guessed, so that the database must not say which guess is right.
    let request_hash = internal::request_hash(snapshot, &digest::sha256(&bytes)).ok_or_else(|| {
        tracing::error!("the key that hashes requests can't be used");
        Problem::new(Code::Overloaded, "requests can't be hashed on this node; leave Idempotency-Key out")
    })?;
    Ok(IdempotencyTicket { scope, key: key.to_owned(), request_hash })
}

/// The answer that was given before, if any.
pub(super) async fn replay(state: &AppState, ticket: &IdempotencyTicket) -> Result<Option<Replay>, Problem> {
    let found = state.ring.kept_answer(&scope(ticket), &ticket.key, state.clock.now()).await;
    let Some(record) = found.map_err(|error| unavailable(&error))? else { return Ok(None) };
    if record.request_hash != ticket.request_hash {
        return Err(Problem::invalid("this Idempotency-Key was used for another request; choose a new one"));
    }
    let kept: Kept = serde_json::from_slice(record.response.expose())
        .map_err(|_| Problem::new(Code::Internal, "the kept answer can't be read"))?;
    let mut response = HttpResponse::build(StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK));
    for (name, value) in kept.headers {
        response.insert_header((name, value));
    }
    response.insert_header(("Idempotent-Replayed", "true"));
    let subject = Subject { replayed: Some(true), ..kept.subject };
    Ok(Some(Replay { response: response.body(kept.body), subject }))
}

/// Keeps a good answer; whoever came first is the one that counts.
pub(super) async fn keep(
    state: &AppState,
    ticket: &IdempotencyTicket,
    response: HttpResponse,
    noted: &Noted,
) -> Result<HttpResponse, Problem> {
    if !response.status().is_success() {
        return Ok(response);
    }
    let (head, body) = response.into_parts();
    let body: Bytes = match to_bytes_limited(body, ANSWER_MAX_BYTES).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) | Err(_) => {
            return Err(Problem::invalid("the answer is too large to be kept; leave Idempotency-Key out"));
        }
    };
    let header =
        |name: &HeaderName| Some((name.to_string(), head.headers().get(name)?.to_str().ok()?.to_owned()));
    let kept = Kept {
        status: head.status().as_u16(),
        headers: HEADERS.iter().filter_map(header).collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
        subject: noted.subject(),
    };
    let now = state.clock.now();
    let record = IdempotencyRecord {
        scope: scope(ticket),
        key: ticket.key.clone(),
        request_hash: ticket.request_hash,
        response: serde_json::to_vec(&kept).unwrap_or_default().into(),
        created_at: now,
        expires_at: now + TimeDelta::hours(KEPT_HOURS),
    };
    if let Err(error) = state.ring.keep_answer(record).await {
        // Two requests at once under one key: the other one's answer stands.
        return match replay(state, ticket).await? {
            Some(first) => {
                noted.note(first.subject);
                Ok(first.response)
            }
            None => Err(unavailable(&error)),
        };
    }
    Ok(head.set_body(body).map_into_boxed_body())
}

/// Answers have a scope beside that of the outcomes kept by the ring.
fn scope(ticket: &IdempotencyTicket) -> String {
    format!("{}/answer", ticket.scope)
}

fn unavailable(error: &claviger_actors::store::StoreError) -> Problem {
    tracing::error!(?error, "answers for retries are not available");
    Problem::new(Code::Overloaded, "the database failed; try again with the same Idempotency-Key")
}
