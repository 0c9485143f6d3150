//! What of sessions is put on record: that they were opened, or turned away, and that they listen. Their calls are recorded as those of
//! their REST twins.

use std::{sync::PoisonError, time::Instant};

use claviger_actors::{
    audit::{self, AuditRecord, AuditUnavailable, Flood, SessionSubject, Subject},
    session::{
        close::{Close, Failure, Refusal},
        scopes::{Role, Scope, Scopes},
    },
};

use super::opening::Opening;
use crate::{
    auth::{Identity, Standing},
    http::record::keep,
};

const OPEN: &str = "session.open";
const UNAVAILABLE: &str = "the operation can't be recorded, so it is not answered; try again";

async fn append(
    opening: &Opening,
    operation: &'static str,
    (identity, subject): (Option<&Identity>, &Subject),
    outcome: &str,
) -> Result<(), AuditUnavailable> {
    if cfg!(unaudited) {
        return Ok(());
    }
    let state = &opening.state;
    let request_id = opening.id.hyphenated().to_string();
    let append = {
        let record = AuditRecord {
            ts: state.clock.now(),
            event: audit::event_of_outcome(operation, outcome),
            operation,
            actor: identity.map_or("anonymous", Identity::name),
            actor_id: identity.map(Identity::id),
            address: Some(opening.came.whence.client),
            subject,
            outcome,
            status: None,
            request_id: &request_id,
            node: &state.node,
            epoch: state.ring.position().epoch.0,
            duration_us: 0,
            times: None,
        };
        if operation == OPEN || outcome != "ok" {
            // Whoever asks any node who came, and who was turned away, is told.
            keep(state, &record);
        }
        state.audit.append(&record, outcome != "ok")
    };
    append.await
}

/// A session is opened.
///
/// # Errors
/// It can't be put on record, so it is not.
pub(super) async fn opened(
    opening: &Opening,
    identity: &Identity,
    standing: &Standing,
    (role, granted): (Role, Scopes),
) -> Result<(), Refusal> {
    let scopes: Vec<&str> = granted.iter().map(Scope::as_str).collect();
    let session = SessionSubject { session_role: role.as_str().to_owned(), session_scopes: scopes.join(",") };
    let device = standing.device().map(ToString::to_string);
    let subject = Subject { device, session: Some(Box::new(session)), ..Subject::default() };
    append(opening, OPEN, (Some(identity), &subject), "ok").await.map_err(|_| {
        let mut refusal = Refusal::new("audit_unavailable", Close::policy("unauthorized: audit unavailable"));
        refusal.failure = refusal.failure.after(1_000);
        refusal
    })
}

/// Somebody was turned away. A stranger who goes on trying is counted, not recorded each time.
pub(super) async fn refused(
    opening: &Opening,
    (identity, device): (Option<&Identity>, Option<&str>),
    refusal: &Refusal,
) {
    let code = match refusal.failure.code.as_ref() {
        "unauthorized" => "unauthorized",
        "rate_limited" => "rate_limited",
        "forbidden" => "forbidden",
        "pairing_required" => "pairing_required",
        "overloaded" => "overloaded",
        "audit_unavailable" => "audit_unavailable",
        _other => "invalid_request",
    };
    let flood = Flood { address: Some(opening.came.whence.client), code };
    let is_told = identity.is_some() || {
        let mut floods = opening.state.floods.lock().unwrap_or_else(PoisonError::into_inner);
        floods.admit(flood, Instant::now())
    };
    let subject = Subject { device: device.map(str::to_owned), ..Subject::default() };
    if is_told && append(opening, OPEN, (identity, &subject), code).await.is_err() {
        tracing::warn!(code, "a session that was turned away could not be recorded");
    }
}

/// A device is about to get its token. That is in the database already, so nobody waits for a disk that is full.
pub(super) async fn token_issued(opening: &Opening, identity: &Identity, standing: &Standing) {
    let device = standing.device().map(ToString::to_string);
    let subject = Subject { device, ..Subject::default() };
    if append(opening, "device.token.issued", (Some(identity), &subject), "ok").await.is_err() {
        tracing::warn!("a token that is handed to a device could not be put into the log of this node");
    }
}

/// Somebody listens, or was not let.
///
/// # Errors
/// It can't be put on record.
pub(super) async fn subscribed(opening: &Opening, identity: &Identity, outcome: &str) -> Result<(), Failure> {
    let written = append(opening, "events.read", (Some(identity), &Subject::default()), outcome).await;
    written.map_err(|_| Failure::new("audit_unavailable", UNAVAILABLE).after(1_000))
}
