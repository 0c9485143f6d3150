//! Tokens read for what they say, whatever time it is.

use claviger_actors::keyring::{Snapshot, Usable, record::KeyRecord};
use claviger_crypto::{
    jwe,
    jws::{self, KidClaim},
    token::{self, ParsedToken},
};
use claviger_entity::KeyState;
use claviger_policy::Permission;
use serde_json::{Map, Value};

use super::verify::{candidates, makes_tokens};
use crate::http::{
    authority,
    problem::{Code, Problem},
    state::{AppState, Caller},
};

/// A token that a version of a key has made.
pub(super) struct Opened<'a> {
    pub(super) claims: Map<String, Value>,
    pub(super) usable: Usable<'a>,
}

/// Reads a token of a key to which the caller may do this; `None` for whatever is none, or of a key that they may not even see. A version
/// that is suspended counts: it may come back, and its tokens with it.
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
    let mut candidates = candidates(state, snapshot, &parsed, &sees)?.unwrap_or_default();
    candidates.extend(suspended(snapshot, parsed.kid()));
    let mut refused = None;
    for usable in candidates {
        if !makes_tokens(&usable.key.record, usable.version) {
            continue;
        }
        match authority::on_key(state, snapshot, caller, permission, &usable.key.record) {
            Ok(()) => {}
            Err(problem) => {
                refused = refused.or((problem.code != Code::KeyNotFound).then_some(problem));
                continue;
            }
        }
        let claims = match &parsed {
            ParsedToken::Jws(token) => jws::verify(token, &usable.material),
            ParsedToken::Jwe(token) => jwe::decrypt(token, &usable.material),
        };
        if let Ok(claims) = claims {
            return Ok(Some(Opened { claims, usable }));
        }
    }
    refused.map_or(Ok(None), Err)
}

/// The version that a token names, while it is suspended.
fn suspended<'a>(snapshot: &'a Snapshot, kid: &KidClaim) -> Option<Usable<'a>> {
    let KidClaim::Named(kid) = kid else { return None };
    let (key, version) = snapshot.ring().by_kid(kid)?;
    let is_named = version.state == KeyState::Suspended && !key.record.name.is_internal();
    let material = is_named.then(|| snapshot.prepare(key, version))?.ok()?;
    Some(Usable { key, version, material })
}
