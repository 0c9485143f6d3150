//! What becomes of a refresh token that somebody presents. Pure.

use std::time::Duration;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::revocations::Revocation;
use crate::keyring::record::Time;

/// What is issued for a refresh token, kept sealed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Grant {
    /// Name of the key that makes its access tokens.
    pub key: String,
    /// Claims without those that are the service's own.
    pub claims: Map<String, Value>,
    /// Lifetime of an access token, in seconds.
    pub lifetime: u64,
}

impl Grant {
    /// `sub`.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.claims.get("sub").and_then(Value::as_str)
    }
}

/// A refresh token as far as it decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// When it ends.
    pub expires_at: Time,
    /// When it was used.
    pub spent_at: Option<Time>,
    /// When its family began, in milliseconds.
    pub begun: i64,
}

/// The answer to whoever presents one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is spent now, for a new pair.
    Spend,
    /// It was spent a moment ago: the same pair again, if that was kept.
    Again,
    /// It was spent, and somebody has it who should not: the family ends.
    Reused,
    /// Its time is over.
    Expired,
    /// Its family, or its subject's tokens of then, were revoked.
    Revoked,
}

/// Judges a refresh token by what the database has of it and by the revocations of its family, subject and key.
///
/// A spent one tells of a thief whenever it comes, so that is asked first.
#[must_use]
pub fn judge(state: &State, revocations: &[Revocation], now: Time, leeway: Duration) -> Verdict {
    let concerned = |revocation: &Revocation| {
        let is_live = revocation.expires_at > now.timestamp_millis();
        is_live && revocation.cutoff.is_none_or(|cutoff| state.begun <= cutoff)
    };
    if revocations.iter().any(concerned) {
        return Verdict::Revoked;
    }
    if let Some(spent_at) = state.spent_at {
        let leeway = TimeDelta::from_std(leeway).unwrap_or(TimeDelta::zero());
        // A clock that went back forgives nothing for longer.
        let since = (now - spent_at).abs();
        return if since < leeway { Verdict::Again } else { Verdict::Reused };
    }
    if state.expires_at <= now { Verdict::Expired } else { Verdict::Spend }
}
