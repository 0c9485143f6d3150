//! One operation, for the record.

use std::{cell::RefCell, net::IpAddr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

/// Longest record in bytes. Every member is bounded by what the service accepts; this is for what was forgotten.
pub(super) const RECORD_MAX: usize = 8 << 10;

/// Who did what to which key, and how it ended.
#[derive(Debug, Clone, Serialize)]
pub struct AuditRecord<'a> {
    /// When it ended.
    #[serde(serialize_with = "moment")]
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

/// As what a client has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSubject {
    /// `operator` or `node`.
    pub session_role: String,
    /// Its scopes, with commas.
    pub session_scopes: String,
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
    /// The device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// What is stored. Few requests are about it, and all carry this about.
    #[serde(flatten)]
    pub stored: Option<Box<StoredSubject>>,
    /// What a session was granted.
    #[serde(flatten)]
    pub session: Option<Box<SessionSubject>>,
    /// A backup that was tested.
    #[serde(flatten)]
    pub backup: Option<Box<BackupSubject>>,
    /// Token id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// Family of a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
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
    /// A revocation of tokens, so that it is in force again after an older backup was restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation: Option<Box<RevocationSubject>>,
}

/// Which backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupSubject {
    /// Epoch at which it was made.
    pub backup_epoch: u64,
    /// When.
    pub backup_made_at: DateTime<Utc>,
}

/// What is kept of a revocation. The mark is a keyed hash: it says nothing of what was revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevocationSubject {
    /// `token`, `family`, `subject` or `version`.
    pub kind: String,
    /// Of what, hex.
    pub mark: String,
    /// Everything that began until then, in milliseconds; null = whenever.
    pub cutoff: Option<i64>,
    /// When nothing that it concerns can be valid any more, in milliseconds.
    pub until: i64,
    /// The key that it counts for; null = none in particular.
    pub of: Option<Uuid>,
}

/// A time as chrono writes it. Of the times of one second only the fraction is written anew: a record's time is the dearest of its members.
fn moment<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    let nanos = at.timestamp_subsec_nanos();
    let seconds = SECOND.with_borrow_mut(|(known, text)| {
        if *known != at.timestamp() || text.is_empty() {
            (*known, *text) = (at.timestamp(), at.format("%Y-%m-%dT%H:%M:%S").to_string());
        }
        let mut whole = [0; 40];
        let start = whole.get_mut(..text.len()).filter(|_| nanos < 1_000_000_000);
        start.map(|start| start.copy_from_slice(text.as_bytes())).map(|()| (whole, text.len()))
    });
    let (digits, mut rest) = match nanos {
        0 => (0, 0),
        _ if nanos.is_multiple_of(1_000_000) => (3, nanos / 1_000_000),
        _ if nanos.is_multiple_of(1_000) => (6, nanos / 1_000),
        _ => (9, nanos),
    };
    let Some((mut text, length)) = seconds else { return at.serialize(serializer) };
    let end = if digits == 0 { length } else { length + 1 + digits };
    let Some(fraction) = text.get_mut(length..=end) else { return at.serialize(serializer) };
    for place in fraction.iter_mut().rev().skip(1).take(digits) {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    if digits > 0
        && let Some(point) = fraction.first_mut()
    {
        *point = b'.';
    }
    if let Some(zone) = fraction.last_mut() {
        *zone = b'Z';
    }
    match text.get(..=end).and_then(|text| std::str::from_utf8(text).ok()) {
        Some(text) => serializer.serialize_str(text),
        None => at.serialize(serializer),
    }
}

thread_local! {
    /// The second that was written last, without its fraction.
    static SECOND: RefCell<(i64, String)> = const { RefCell::new((0, String::new())) };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Serialize)]
    struct Ours(#[serde(serialize_with = "moment")] DateTime<Utc>);

    proptest! {
        /// Letter for letter, in whatever order times come.
        #[test]
        fn times_are_written_as_chrono_writes_them(
            times in prop::collection::vec((-80_000_000_000_i64..250_000_000_000, 0_u32..2_000_000_000, 0_u32..4), 1..20)
        ) {
            for (second, nanos, coarse) in times {
                let unit = [1, 1_000, 1_000_000, 1_000_000_000].get(coarse as usize).copied().unwrap_or(1);
                let Some(at) = DateTime::from_timestamp(second, nanos / unit * unit) else { continue };
                prop_assert_eq!(serde_json::to_string(&Ours(at)).unwrap(), serde_json::to_string(&at).unwrap());
            }
        }
    }
}

/// Something that is stored for somebody.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSubject {
    /// What stands for the owner: see `POST /v1/audit/hash`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Name of a secret, or provider of tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<String>,
    /// Keys that values of a batch were opened with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// Versions of those.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kids: Vec<String>,
}

impl Subject {
    /// Something of an owner.
    #[must_use]
    pub fn of_stored(owner: Option<String>, item: Option<String>) -> Self {
        let stored = StoredSubject { owner, item, ..StoredSubject::default() };
        Self { stored: Some(Box::new(stored)), ..Self::default() }
    }
}
