//! Tokens read for what they say, whatever time it is.

use std::sync::Arc;

use claviger_actors::keyring::{
    Snapshot, Usable, internal,
    record::{Key, KeyRecord, VersionRecord},
};
use claviger_crypto::{
    jwe,
    jws::{self, KidClaim},
    token::{self, ParsedToken},
};
use claviger_entity::{KeyState, Kid};
use claviger_policy::Permission;
use serde_json::{Map, Value};

use super::verify::{candidates, makes_tokens};
use crate::http::{
    authority,
    problem::{Code, Problem},
    state::{AppState, Caller},
};

/// Versions that are tried for a token without `kid`.
const VERSIONS_MAX: usize = 64;
/// Keys by which one token is read.
const KEYS_MAX: usize = 16;

/// A token that a version of a key has made.
pub(super) struct Opened<'a> {
    pub(super) claims: Map<String, Value>,
    pub(super) usable: Usable<'a>,
}

/// Reads a token of a key to which the caller may do this; `None` for whatever is none, or of a key that they may not even see.
///
/// # Errors
/// `forbidden`.
pub(super) fn open<'a>(
    state: &AppState,
    snapshot: &'a Snapshot,
    caller: &Caller,
    text: &str,
    permission: Permission,
) -> Result<Option<Opened<'a>>, Problem> {
    let Ok(parsed) = token::parse(text) else { return Ok(None) };
    let sees = |key: &KeyRecord| state.authorizer.sees_key(snapshot, &caller.identity, key);
    let candidates = candidates(state, snapshot, &parsed, &sees)?.unwrap_or_default();
    let opened = opened(state, (snapshot, caller, permission), &parsed, candidates, 1)?;
    Ok(opened.into_iter().next())
}

/// Reads a token by every key that opens it and to which the caller may do this: two keys may be imports of one secret, and whoever asks
/// the other one must hear the same. A version that is suspended, or below `min_decryption_version`, counts too: it may come back, and its
/// tokens with it.
///
/// # Errors
/// `forbidden`, when there is no key to which they may.
pub(super) fn open_by_all<'a>(
    state: &AppState,
    snapshot: &'a Snapshot,
    caller: &Caller,
    text: &str,
    permission: Permission,
) -> Result<Vec<Opened<'a>>, Problem> {
    let Ok(parsed) = token::parse(text) else { return Ok(Vec::new()) };
    let makers = makers(state, snapshot, &parsed);
    opened(state, (snapshot, caller, permission), &parsed, makers, KEYS_MAX)
}

/// The token as each of these versions reads it, a key once, and no more than so many.
fn opened<'a>(
    state: &AppState,
    (snapshot, caller, permission): (&'a Snapshot, &Caller, Permission),
    parsed: &ParsedToken<'_>,
    candidates: Vec<Usable<'a>>,
    most: usize,
) -> Result<Vec<Opened<'a>>, Problem> {
    let (mut opened, mut refused): (Vec<Opened<'a>>, _) = (Vec::new(), None);
    for usable in candidates {
        let record = &usable.key.record;
        let is_read = |opened: &Opened<'_>| opened.usable.key.record.id == record.id;
        if opened.len() >= most || opened.iter().any(is_read) || !makes_tokens(record, usable.version) {
            continue;
        }
        match authority::on_key(state, snapshot, caller, permission, record) {
            Ok(()) => {}
            Err(problem) => {
                refused = refused.or((problem.code != Code::KeyNotFound).then_some(problem));
                continue;
            }
        }
        let claims = match parsed {
            ParsedToken::Jws(token) => jws::verify(token, &usable.material),
            ParsedToken::Jwe(token) => jwe::decrypt(token, &usable.material),
        };
        if let Ok(claims) = claims {
            opened.push(Opened { claims, usable });
        }
    }
    match refused {
        Some(problem) if opened.is_empty() => Err(problem),
        Some(_) | None => Ok(opened),
    }
}

/// Every version that may have made a token and has material, whatever its state: those that its `kid` names, those that a replaced system knew
/// under that id, or, for a token without any, the newest ones of the default key if it allows that.
fn makers<'a>(state: &AppState, snapshot: &'a Snapshot, parsed: &ParsedToken<'_>) -> Vec<Usable<'a>> {
    let by_kid = |kid: &Kid| {
        let (key, version) = snapshot.ring().by_kid(kid)?;
        usable(snapshot, key, version)
    };
    match parsed.kid() {
        KidClaim::Foreign => Vec::new(),
        KidClaim::Named(kid) if snapshot.ring().by_kid(kid).is_some() => by_kid(kid).into_iter().collect(),
        KidClaim::Named(kid) => {
            let hash = internal::alias_hash(snapshot, kid.as_str().as_bytes());
            let aliased = hash.map(|hash| snapshot.aliased(&hash)).unwrap_or_default();
            aliased.iter().filter_map(by_kid).collect()
        }
        KidClaim::Absent => {
            let default = match parsed {
                ParsedToken::Jws(_) => &state.signing_key,
                ParsedToken::Jwe(_) => &state.encryption_key,
            };
            let key = snapshot.key(default).ok().filter(|key| key.record.claims.kid_fallback);
            let versions = key.into_iter().flat_map(|key| {
                key.versions.values().rev().filter_map(move |version| usable(snapshot, key, version))
            });
            versions.take(VERSIONS_MAX).collect()
        }
    }
}

/// A version that may use its material, now or once it is let again.
fn usable<'a>(snapshot: &'a Snapshot, key: &'a Arc<Key>, version: &'a VersionRecord) -> Option<Usable<'a>> {
    let is_one = version.state.may_consume() || version.state == KeyState::Suspended;
    let is_there = key.record.deleted_at.is_none() && !key.record.name.is_internal();
    let material = (is_one && is_there).then(|| snapshot.prepare(key, version))?.ok()?;
    Some(Usable { key, version, material })
}
