//! Tokens read for what they say, whatever time it is.

use claviger_actors::keyring::{Snapshot, Unusable, Usable};
use claviger_crypto::{
    jwe,
    jws::{self, KidClaim},
    token::{self, ParsedToken},
};
use claviger_entity::KeyState;
use claviger_policy::Permission;
use serde_json::{Map, Value};

use super::verify::makes_tokens;
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
    let KidClaim::Named(kid) = parsed.kid() else { return Ok(None) };
    let usable = match snapshot.consumer(kid) {
        Err(Unusable::State(KeyState::Suspended)) => {
            let Some((key, version)) = snapshot.ring().by_kid(kid) else { return Ok(None) };
            snapshot.prepare(key, version).map(|material| Usable { key, version, material })
        }
        found => found,
    };
    let Ok(usable) = usable else { return Ok(None) };
    if !makes_tokens(&usable.key.record, usable.version) {
        return Ok(None);
    }
    match authority::on_key(state, snapshot, caller, permission, &usable.key.record) {
        Ok(()) => {}
        Err(problem) if problem.code == Code::KeyNotFound => return Ok(None),
        Err(problem) => return Err(problem),
    }
    let claims = match &parsed {
        ParsedToken::Jws(token) => jws::verify(token, &usable.material),
        ParsedToken::Jwe(token) => jwe::decrypt(token, &usable.material),
    };
    Ok(claims.ok().map(|claims| Opened { claims, usable }))
}
