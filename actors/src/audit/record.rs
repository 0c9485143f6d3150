//! One operation, for the record.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Longest record in bytes. Every member is bounded by what the service accepts; this is for what was forgotten.
pub(super) const RECORD_MAX: usize = 8 << 10;

/// Who did what to which key, and how it ended.
#[derive(Debug, Clone, Serialize)]
pub struct AuditRecord<'a> {
    /// When it ended.
    pub ts: DateTime<Utc>,
    /// What happened, such as `key_rotated`.
    pub event: &'a str,
    /// The operation, such as `key.rotate`: the permission that it needs.
    pub operation: &'a str,
    /// Who: a principal's name, `anonymous` or `system`.
    pub actor: &'a str,
    /// The principal's id, since several may carry one name.
    #[serde(skip_serializing_if = "Option::is_none", with = "uuid::serde::simple::option")]
    pub actor_id: Option<Uuid>,
    /// Where the request came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// What it was done to.
    #[serde(flatten)]
    pub subject: &'a Subject,
    /// `ok`, or the problem's code.
    pub outcome: &'a str,
    /// HTTP status of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// `X-Request-Id`.
    pub request_id: &'a str,
    /// This node.
    pub node: &'a str,
    /// Epoch of the ring.
    pub epoch: u64,
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// So many of the same kind within a few seconds, this one included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
}

/// What an operation was done to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// Its identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// The API key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<String>,
    /// The policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// What stands for the owner of what is stored: see `POST /v1/audit/hash`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Name of a secret, or provider of tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<String>,
    /// Token id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// `sub` of a token that is a credential for this service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// What stands for the `sub` of any token ([`Snapshot::audit_hash`](crate::keyring::Snapshot::audit_hash)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_hash: Option<String>,
    /// The permission that was needed beside that of the operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permission: Option<String>,
    /// Items of a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// Failed items of a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<usize>,
    /// Items of a batch, or candidates of a token, that the caller had no right to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forbidden: Option<usize>,
    /// The answer of before was given again, for the same `Idempotency-Key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replayed: Option<bool>,
    /// Verdict of a verification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid: Option<bool>,
}
