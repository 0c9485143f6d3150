//! `POST /v1/audit/verify`: looks whether the log of this node is whole.

use actix_web::{HttpResponse, web, web::Data};
use claviger_actors::{
    audit::verify::{self, Trust},
    keyring::RingFailure,
};
use serde::Serialize;
use serde_json::Value;

use crate::http::{
    problem::{Code, Problem},
    state::AppState,
};

/// What was found.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Verdict {
    /// Every record is there and as it was written.
    valid: bool,
    /// Node whose log was looked at: each has its own.
    node: String,
    /// Chains, what is wrong and what is worth knowing, as `claviger audit verify --json` prints it.
    #[schema(value_type = Object)]
    report: Value,
}

/// Looks whether every record in the log of the node that answers is there and as it was written, by the keys and checkpoints of the
/// database. One look at a time; a log that takes longer than a request may is looked at by `claviger audit verify`.
///
/// # Errors
/// `overloaded` while another one looks, or when the database does not answer.
#[utoipa::path(post, path = "/v1/audit/verify", tag = "operations", responses(
    (status = 200, description = "The verdict", body = Verdict),
))]
pub async fn verify(state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let busy = |_| Problem::new(Code::Overloaded, "the log is being verified already; try again");
    let permit = state.verifying.clone().try_acquire_owned().map_err(busy)?;
    let mut trust = Trust::default();
    let keys = serde_json::json!({ "keys": state.ring.snapshot().audit_keys() });
    let unreadable = |_| Problem::new(Code::Internal, "the service failed; its log says why");
    trust.pin(&keys.to_string()).map_err(unreadable)?;
    for known in state.ring.audit_anchors().await.map_err(RingFailure::Storage)? {
        trust.anchor(known.anchor);
    }
    let directory = state.audit_dir.clone();
    let looked = web::block(move || {
        let report = verify::verify(&directory, &trust, |_, _| {});
        drop(permit);
        report
    });
    let report = looked.await.map_err(|_| Problem::new(Code::Overloaded, "the node is leaving"))?;
    let report = report.map_err(|error| {
        tracing::error!(%error, "the audit log can't be read");
        Problem::new(Code::AuditUnavailable, "the audit log can't be read; the service's log says why")
    })?;
    let valid = report.is_whole();
    let report = serde_json::to_value(report);
    let report = report.map_err(|_| Problem::new(Code::Internal, "the report can't be written as JSON"))?;
    Ok(HttpResponse::Ok().json(Verdict { valid, node: state.node.clone(), report }))
}
