//! Principals and policies as plain data.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::DateTime;
use claviger_entity::{ApiKeyName, PolicyName, RoleName};
use claviger_policy::{PolicyDocument, PrincipalRef};
use uuid::Uuid;

use crate::keyring::record::Time;

/// The holder of an API key; the first administrator is one too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrincipalRecord {
    /// Identity; part of the API key's text.
    pub id: Uuid,
    /// Name, for people. Several may carry one.
    pub name: ApiKeyName,
    /// Keyed hash of the token; the token itself is kept nowhere.
    pub token_hash: [u8; 32],
    /// The token before, while a rotation lets both in.
    pub previous: Option<PreviousToken>,
    /// Roles.
    pub roles: Vec<RoleName>,
    /// Creation.
    pub created_at: Time,
    /// Expiry.
    pub expires_at: Option<Time>,
    /// When it was deleted; the row stays, so that the audit log's ids keep their names.
    pub disabled_at: Option<Time>,
}

/// A token that a rotation has replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviousToken {
    /// Its keyed hash.
    pub hash: [u8; 32],
    /// Until when it is accepted.
    pub until: Time,
}

impl PrincipalRecord {
    /// May call now.
    #[must_use]
    pub fn is_live(&self, now: Time) -> bool {
        self.disabled_at.is_none() && self.expires_at.is_none_or(|expires_at| now < expires_at)
    }

    /// As policies see it.
    #[must_use]
    pub fn as_policy_ref(&self) -> PrincipalRef<'_> {
        PrincipalRef::ApiKey { id: self.id, name: &self.name, roles: &self.roles }
    }
}

/// A principal with what is remembered of it in memory.
#[derive(Debug)]
pub struct Principal {
    /// Its record.
    pub record: PrincipalRecord,
    /// Milliseconds of its last request; 0 = none known.
    last_used: AtomicI64,
    /// The last request that is in the database.
    written: AtomicI64,
}

impl Principal {
    /// From its row.
    #[must_use]
    pub const fn new(record: PrincipalRecord, last_used: Option<Time>) -> Self {
        let millis = match last_used {
            Some(at) => at.timestamp_millis(),
            None => 0,
        };
        Self { record, last_used: AtomicI64::new(millis), written: AtomicI64::new(millis) }
    }

    /// The same principal with another record.
    #[must_use]
    pub(crate) fn with(&self, record: PrincipalRecord) -> Self {
        let copied = |from: &AtomicI64| AtomicI64::new(from.load(Ordering::Relaxed));
        Self { record, last_used: copied(&self.last_used), written: copied(&self.written) }
    }

    /// Its last request, as far as this node knows.
    #[must_use]
    pub fn last_used_at(&self) -> Option<Time> {
        let millis = self.last_used.load(Ordering::Relaxed);
        if millis == 0 { None } else { DateTime::from_timestamp_millis(millis) }
    }

    /// Its last request, unless the database has it.
    pub(crate) fn unwritten_use(&self) -> Option<Time> {
        let at = self.last_used_at()?;
        (at.timestamp_millis() > self.written.load(Ordering::Relaxed)).then_some(at)
    }

    /// The database has this use.
    pub(crate) fn written(&self, at: Time) {
        self.written.fetch_max(at.timestamp_millis(), Ordering::Relaxed);
    }

    /// Notes a request. To the second is enough, and spares the cache line.
    pub fn used(&self, now: Time) {
        let (now, before) = (now.timestamp_millis(), self.last_used.load(Ordering::Relaxed));
        if now.saturating_sub(before) >= 1_000 {
            self.last_used.fetch_max(now, Ordering::Relaxed);
        }
    }
}

/// A policy.
#[derive(Debug, Clone)]
pub struct PolicyRecord {
    /// Name.
    pub name: PolicyName,
    /// Cedar text, as written.
    pub text: String,
    /// The text, read.
    pub document: PolicyDocument,
    /// What it is for.
    pub description: Option<String>,
    /// Creation.
    pub created_at: Time,
    /// Last change.
    pub updated_at: Time,
    /// Epoch of its last change; the `ETag`.
    pub revision: u64,
}
