//! Pairs: an access token, and the refresh token for the next one.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
use claviger_actors::{
    keyring::{Snapshot, record::KeyRecord},
    tokens::{NewRefresh, core::Grant},
};
use claviger_crypto::{jwe, jws, token::MAX_TOKEN_BYTES};
use claviger_entity::{HumanDuration, KeyName, KeyType, Kid, Usage, VersionNumber};
use claviger_policy::Permission;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    facts::FAMILY,
    issue::{IssueAnswer, RESERVED, audience},
};
use crate::http::{
    authority,
    problem::{Code, Problem},
    state::{AppState, Caller},
    turn::{self, Place, Turn},
};

/// The refresh token of a pair in the making.
pub(super) struct Refresh {
    pub(super) new: NewRefresh,
}

/// An access token in the making, and what the record says of it.
pub(super) struct Access {
    pub(super) answer: IssueAnswer,
    pub(super) version: VersionNumber,
}

/// A new family, where one is asked for and the key can have one.
///
/// # Errors
/// `unsupported_operation`.
pub(super) fn family(state: &AppState, record: &KeyRecord, wanted: bool) -> Result<Option<Uuid>, Problem> {
    if wanted && record.temporary.is_some() {
        let detail = "a temporary key makes no refresh tokens: its uses are counted";
        return Err(Problem::new(Code::UnsupportedOperation, detail));
    }
    Ok(wanted.then(|| state.tokens.new_id()))
}

impl Refresh {
    /// The first of a family, for the same claims each time; they get the name of the family.
    ///
    /// # Errors
    /// `internal`.
    pub(super) fn begin(
        state: &AppState,
        record: &KeyRecord,
        family: Uuid,
        claims: &mut Map<String, Value>,
        lifetime: HumanDuration,
    ) -> Result<Self, Problem> {
        let mut granted = claims.clone();
        for name in RESERVED {
            granted.remove(name);
        }
        let grant = Grant { key: record.name.to_string(), claims: granted, lifetime: lifetime.as_secs() };
        claims.insert(FAMILY.to_owned(), family.to_string().into());
        Self::next(state, (family, record.id), &grant)
    }

    /// Another one of a family.
    ///
    /// # Errors
    /// `internal`.
    pub(super) fn next(state: &AppState, of: (Uuid, Uuid), grant: &Grant) -> Result<Self, Problem> {
        let lifetime = Duration::from_secs(state.token_times.refresh.as_secs());
        let new = state.tokens.new_refresh(of, grant, (state.clock.now(), lifetime))?;
        Ok(Self { new })
    }

    /// Puts it into the answer.
    pub(super) fn show(&self, answer: &mut IssueAnswer) {
        answer.refresh_expires_at = Some(text(self.new.expires_at));
        answer.refresh_token = Some(self.new.text.clone());
    }
}

/// The ring to work on; where the work takes long, the ring at one's turn.
pub(super) async fn in_turn(
    state: &AppState,
    name: &KeyName,
) -> Result<(Arc<Snapshot>, Option<(Turn, Place)>), Problem> {
    let snapshot = state.snapshot_with(name).await?;
    let Some(cost) = snapshot.key(name).ok().and_then(|key| turn::cost(&key.record)) else {
        return Ok((snapshot, None));
    };
    drop(snapshot);
    let place = Place::take(cost)?;
    let turn = place.turn().await?;
    Ok((state.ring.snapshot(), Some((turn, place))))
}

/// An access token for a grant, under the rules of its key as they are now. A lifetime that has become too long is cut.
///
/// # Errors
/// `token_invalid` when the rules do not allow the claims any more; `forbidden`, `key_state_conflict`.
pub(super) fn access(
    state: &AppState,
    snapshot: &Snapshot,
    caller: &Caller,
    record: &KeyRecord,
    (grant, family): (&Grant, Uuid),
) -> Result<Access, Problem> {
    let may = |permission: Permission| authority::on_key(state, snapshot, caller, permission, record);
    let outdated = || {
        let detail = "the key's claims do not allow any more what this token was issued for; log in again";
        Problem::new(Code::TokenInvalid, detail)
    };
    if record.usage != Usage::Token || record.temporary.is_some() {
        return Err(outdated());
    }
    if let Err(problem) = audience(&may, record, grant.claims.get("aud")) {
        return Err(if problem.code == Code::InvalidRequest { outdated() } else { problem });
    }
    let now = state.clock.now();
    let issued_at = DateTime::from_timestamp(now.timestamp(), 0).unwrap_or(now);
    let lifetime = HumanDuration::from_secs(grant.lifetime).min(record.claims.max_ttl());
    let expires_at = issued_at + lifetime.to_delta();
    let jti = state.tokens.new_id();
    let mut claims = grant.claims.clone();
    claims.insert("iss".to_owned(), state.issuer().into());
    claims.insert("iat".to_owned(), issued_at.timestamp().into());
    claims.insert("exp".to_owned(), expires_at.timestamp().into());
    claims.insert("jti".to_owned(), jti.to_string().into());
    claims.insert(FAMILY.to_owned(), family.to_string().into());
    if !record.claims.required.iter().all(|name| claims.contains_key(name)) {
        return Err(outdated());
    }
    let primary = snapshot.primary(&record.name)?;
    let kid: Kid = primary.version.kid.clone();
    let token = if record.key_type == KeyType::Aes256Gcm {
        jwe::issue(&primary.material, &kid, &claims)?
    } else {
        jws::issue(&primary.material, &kid, &claims)?
    };
    if token.len() > MAX_TOKEN_BYTES {
        return Err(outdated());
    }
    let answer = IssueAnswer::new(token, kid, jti, (text(issued_at), text(expires_at)));
    Ok(Access { answer, version: primary.version.version })
}

fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
