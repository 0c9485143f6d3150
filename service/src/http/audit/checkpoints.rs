//! `GET /v1/audit/checkpoints`: what the logs are held against, offline.

use actix_web::{HttpResponse, web::Data};
use chrono::{DateTime, Utc};
use claviger_actors::{keyring::RingFailure, store::NodeAnchor};
use serde::Serialize;
use uuid::Uuid;

use crate::http::{problem::Problem, state::AppState};

/// The last checkpoint of every log that the database knows.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Checkpoints {
    items: Vec<Checkpoint>,
}

/// One of them.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Checkpoint {
    /// Node that writes the log.
    node: String,
    /// Chain of the log.
    #[schema(value_type = String, format = Uuid)]
    chain: Uuid,
    /// Number of the record.
    seq: u64,
    /// When it was signed.
    at: DateTime<Utc>,
    /// The record itself, as it stands in the log.
    line: String,
}

impl From<NodeAnchor> for Checkpoint {
    fn from(NodeAnchor { node, anchor, .. }: NodeAnchor) -> Self {
        Self { node, chain: anchor.chain, seq: anchor.seq, at: anchor.at, line: anchor.line }
    }
}

/// Shows the last checkpoint of every node's audit log: each must be in the log of its chain, unless its segment was removed.
///
/// # Errors
/// `overloaded` when the database does not answer.
#[utoipa::path(get, path = "/v1/audit/checkpoints", tag = "operations", responses(
    (status = 200, description = "The checkpoints", body = Checkpoints),
))]
pub async fn checkpoints(state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let items = state
        .ring
        .audit_anchors()
        .await
        .map_err(RingFailure::Storage)?
        .into_iter()
        .map(Checkpoint::from)
        .collect();
    Ok(HttpResponse::Ok().json(Checkpoints { items }))
}
