//! `POST /v1/audit/hash`: how a value looks in the records that hide it.

use actix_web::{HttpResponse, web::Data};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::http::{
    body::StrictJson,
    problem::{Code, Problem},
    state::AppState,
};

/// A value to look for.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditValue {
    /// Such as the subject of a token.
    #[schema(value_type = String)]
    value: Zeroizing<String>,
}

/// What stands for it.
#[derive(Serialize, utoipa::ToSchema)]
pub struct AuditHash {
    /// `hmac-sha256:` and the code in base64url. It is keyed, and the same on every node.
    hash: String,
}

/// Hashes a value as audit records do, so that it can be looked for in them.
///
/// # Errors
/// `invalid_request`.
#[utoipa::path(post, path = "/v1/audit/hash", tag = "operations", request_body = AuditValue, responses(
    (status = 200, description = "The hash", body = AuditHash),
))]
pub async fn hash(
    state: Data<AppState>,
    StrictJson(given): StrictJson<AuditValue>,
) -> Result<HttpResponse, Problem> {
    let hash = state.ring.snapshot().audit_hash(&given.value);
    let hash = hash.ok_or_else(|| Problem::new(Code::Internal, "the service failed; its log says why"))?;
    Ok(HttpResponse::Ok().json(AuditHash { hash }))
}
