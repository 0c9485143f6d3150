//! `GET /v1/audit/keys`: what the logs can be verified with, offline.

use actix_web::{HttpResponse, web::Data};
use claviger_actors::keyring::AuditKey;
use serde::Serialize;

use crate::http::state::AppState;

/// The versions of the audit key, newest first.
#[derive(Serialize, utoipa::ToSchema)]
pub struct AuditKeys {
    /// JWKs (RFC 8037), each with `state`, `activated_at` and `deactivated_at`.
    #[schema(value_type = Vec<Object>)]
    keys: Vec<AuditKey>,
}

/// Shows the public halves of all keys that have signed audit logs of this deployment.
#[utoipa::path(get, path = "/v1/audit/keys", tag = "operations", responses(
    (status = 200, description = "The keys", body = AuditKeys),
))]
pub async fn keys(state: Data<AppState>) -> HttpResponse {
    HttpResponse::Ok().json(AuditKeys { keys: state.ring.snapshot().audit_keys() })
}
