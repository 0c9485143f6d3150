//! Permissions asked about, and what a caller without them is told.
//!
//! What a caller may not even see is not there: the answer is the one for a name that names nothing. The audit log says which it was.

use std::{sync::Arc, time::Duration};

use chrono::SecondsFormat;
use claviger_actors::{
    access::Principal,
    audit::Subject,
    keyring::{
        Snapshot,
        core::RingError,
        record::{Key, KeyRecord},
    },
    stores::{Place, Store},
};
use claviger_entity::{KeyName, PolicyName};
use claviger_policy::{Permission, ResourceRef, Target};
use uuid::Uuid;

use super::{
    problem::{Code, Problem},
    state::{AppState, Caller},
    stores::place,
    table::{self, Access, Route, Scope},
};

/// The path of a request, twice: as the router has decoded it, all but for slashes and per cent signs, and as it came.
pub(super) struct Path<'a> {
    pub(super) decoded: &'a str,
    pub(super) raw: &'a str,
}

/// What a route's permission is asked about, looked up once.
pub(super) enum Named<'a> {
    /// The deployment.
    Deployment,
    /// What the handler finds in the body or lists. Whoever may do this is let in too.
    Later(Option<Permission>),
    /// The key that the path names.
    Key(Result<&'a Arc<Key>, RingError>),
    /// The API key that the path names.
    ApiKey(Option<&'a Arc<Principal>>),
    /// The policy that the path names, and whether there is one.
    Policy(Option<PolicyName>, bool),
    /// What is stored, or would be, at the place that the path names.
    Stored(Result<Place, Problem>),
}

impl<'a> Named<'a> {
    /// Looks up what a request to a route names.
    pub(super) fn find(
        snapshot: &'a Snapshot,
        route: &Route,
        permission: Permission,
        path: &Path<'_>,
    ) -> Self {
        let segment = |name: &str| table::segment(route.pattern, path.decoded, name);
        match route.scope(permission) {
            Scope::Deployment => Self::Deployment,
            Scope::Handler => Self::Later(route.also),
            Scope::Path(target @ (Target::Secret | Target::AuthToken | Target::OfflineToken)) => {
                Self::Stored(place::of_path(target, route.pattern, path.raw))
            }
            Scope::Path(Target::Key) => {
                let name = segment("name").and_then(|name| name.parse::<KeyName>().ok());
                Self::Key(name.ok_or(RingError::KeyNotFound).and_then(|name| snapshot.key(&name)))
            }
            Scope::Path(Target::ApiKey) => {
                let id = segment("id").and_then(api_key_id);
                Self::ApiKey(id.and_then(|id| snapshot.access().api_key(id)))
            }
            Scope::Path(Target::Policy | Target::Deployment) => {
                let name: Option<PolicyName> = segment("name").and_then(|name| name.parse().ok());
                let exists = name.as_ref().is_some_and(|name| snapshot.access().policy(name).is_some());
                Self::Policy(name, exists)
            }
        }
    }

    /// The key, if the path names one.
    pub(super) fn key(&self) -> Option<Uuid> {
        match self {
            Self::Key(key) => key.as_ref().ok().map(|key| key.record.id),
            Self::Deployment | Self::Later(_) | Self::ApiKey(_) | Self::Policy(..) | Self::Stored(_) => None,
        }
    }

    /// For the record. What is not there is not named: it may be a secret in the wrong place.
    pub(super) fn subject(&self, snapshot: &Snapshot) -> Subject {
        let mut subject = Subject::default();
        match self {
            Self::Deployment | Self::Later(_) => {}
            // Nobody knows yet whether it is there.
            Self::Stored(place) => {
                let owner = place.as_ref().ok().map(|place| place.owner().as_str());
                subject = Subject::of_stored(owner.and_then(|owner| snapshot.audit_hash(owner)), None);
            }
            Self::Key(key) => subject.key = key.as_ref().ok().map(|key| key.record.name.as_str().to_owned()),
            Self::ApiKey(principal) => {
                subject.api_key = principal.map(|principal| principal.record.id.simple().to_string());
            }
            Self::Policy(name, exists) => {
                subject.policy = name.as_ref().filter(|_| *exists).map(ToString::to_string);
            }
        }
        subject
    }

    /// Asks about the permission, as far as the door can.
    ///
    /// # Errors
    /// `forbidden`, or the code of what is not there.
    pub(super) fn judge(
        &self,
        state: &AppState,
        snapshot: &Snapshot,
        caller: &Caller,
        permission: Permission,
    ) -> Result<(), Problem> {
        match self {
            Self::Deployment => {
                caller.decided();
                let permits = state.authorizer.permits_deployment(snapshot, &caller.identity, permission);
                permits.then_some(()).ok_or_else(|| forbidden(permission))
            }
            Self::Later(also) => {
                let might = |permission| state.authorizer.might(snapshot, &caller.identity, permission);
                let is_let_in = might(permission) || also.is_some_and(might);
                is_let_in.then_some(()).ok_or_else(|| forbidden(permission))?;
                held_back(snapshot, permission)
            }
            Self::Stored(place) => {
                on_place(state, snapshot, caller, permission, place.as_ref().map_err(Clone::clone)?)
            }
            Self::Key(key) => {
                let key = key.as_ref().map_err(|error| of_unreadable(caller, error.clone()))?;
                on_key(state, snapshot, caller, permission, &key.record)
            }
            Self::ApiKey(principal) => {
                let missing = || Problem::new(Code::NotFound, "there is no such API key");
                let record = &principal.ok_or_else(missing)?.record;
                let seen = [Permission::ApiKeyRead, Permission::ApiKeyRotate, Permission::ApiKeyDelete];
                let permits = |permission| {
                    state.authorizer.permits_api_key(snapshot, &caller.identity, permission, record)
                };
                judge(caller, permission, permits, &seen, missing)
            }
            Self::Policy(name, _) => {
                let missing = || Problem::new(Code::NotFound, "there is no such policy");
                let name = name.as_ref().ok_or_else(missing)?;
                // A policy that does not exist may be written, by whoever may write one of its name.
                let seen = [Permission::PolicyRead, Permission::PolicyWrite, Permission::PolicyDelete];
                let permits = |permission| {
                    state.authorizer.permits_policy(snapshot, &caller.identity, permission, name)
                };
                judge(caller, permission, permits, &seen, missing)
            }
        }
    }
}

fn judge(
    caller: &Caller,
    permission: Permission,
    permits: impl Fn(Permission) -> bool,
    seen: &[Permission],
    missing: impl Fn() -> Problem,
) -> Result<(), Problem> {
    caller.decided();
    if permits(permission) {
        return Ok(());
    }
    if seen.iter().any(|permission| permits(*permission)) {
        return Err(forbidden(permission));
    }
    Err(missing().recorded_as(Code::Forbidden))
}

/// The key that a request names, if the caller may do this to it.
///
/// # Errors
/// `forbidden`; `key_not_found` when there is none or the caller may not even see it.
pub(super) fn key<'a>(
    state: &AppState,
    snapshot: &'a Snapshot,
    caller: &Caller,
    permission: Permission,
    name: &KeyName,
) -> Result<&'a Arc<Key>, Problem> {
    let key = snapshot.key(name).map_err(|error| of_unreadable(caller, error))?;
    on_key(state, snapshot, caller, permission, &key.record)?;
    Ok(key)
}

/// Nobody can tell what policies would say of a row that can't be read, so only administrators learn that there is one.
fn of_unreadable(caller: &Caller, error: RingError) -> Problem {
    if caller.identity.is_admin() {
        return error.into();
    }
    Problem::new(Code::KeyNotFound, "there is no such key")
}

/// What was answered before may be answered again, unless the caller has lost the right to the key that it is about.
///
/// # Errors
/// `forbidden`, `key_not_found`.
pub(super) fn still(
    state: &AppState,
    caller: &Caller,
    route: &Route,
    subject: &Subject,
) -> Result<(), Problem> {
    let Access::Needs(permission) = route.access else { return Ok(()) };
    let name = subject.key.as_ref().and_then(|name| name.parse::<KeyName>().ok());
    let snapshot = state.ring.snapshot();
    match name.map(|name| snapshot.key(&name)) {
        Some(Ok(key)) if route.scope(permission) == Scope::Handler => {
            on_key(state, &snapshot, caller, permission, &key.record)
        }
        Some(_) | None => Ok(()),
    }
}

/// The caller may do this to the key.
///
/// # Errors
/// `forbidden`; `key_not_found` when the caller may not even see it.
pub(super) fn on_key(
    state: &AppState,
    snapshot: &Snapshot,
    caller: &Caller,
    permission: Permission,
    key: &KeyRecord,
) -> Result<(), Problem> {
    caller.decided();
    if state.authorizer.permits_key(snapshot, &caller.identity, permission, key) {
        return held_back(snapshot, permission);
    }
    if state.authorizer.sees_key(snapshot, &caller.identity, key) {
        return Err(forbidden(permission));
    }
    Err(Problem::new(Code::KeyNotFound, "there is no such key").recorded_as(Code::Forbidden))
}

/// The caller may do this to what is stored at a place, or would be.
///
/// # Errors
/// `forbidden`; `not_found` when the caller may do nothing at all there.
pub(super) fn on_place(
    state: &AppState,
    snapshot: &Snapshot,
    caller: &Caller,
    permission: Permission,
    place: &Place,
) -> Result<(), Problem> {
    let seen: &[Permission] = match place.store() {
        Store::Secrets => &[
            Permission::SecretRead,
            Permission::SecretWrite,
            Permission::SecretDelete,
            Permission::SecretList,
        ],
        Store::AuthTokens => &[
            Permission::AuthTokenRead,
            Permission::AuthTokenWrite,
            Permission::AuthTokenDelete,
            Permission::AuthTokenExchange,
            Permission::AuthTokenLogout,
            Permission::AuthTokenVerify,
        ],
        Store::OfflineTokens => {
            &[Permission::OfflineTokenRead, Permission::OfflineTokenWrite, Permission::OfflineTokenDelete]
        }
    };
    let permits = |permission| {
        let asked = (place.store(), place.owner(), place.name());
        state.authorizer.permits_stored(snapshot, &caller.identity, permission, asked)
    };
    judge(caller, permission, permits, seen, || place::missing(place.store()))?;
    held_back(snapshot, permission)
}

/// What makes something new with a key.
const MAKING: [Permission; 12] = [
    Permission::KeyEncrypt,
    Permission::KeyRewrap,
    Permission::KeyDatakey,
    Permission::KeySign,
    Permission::KeyHmac,
    Permission::TokenIssue,
    Permission::TokenIssueCredential,
    Permission::TokenRefresh,
    Permission::SecretWrite,
    Permission::AuthTokenWrite,
    Permission::AuthTokenExchange,
    Permission::OfflineTokenWrite,
];

/// A deployment that was restored from a backup makes nothing new with its keys until an operator has released it: what was revoked or
/// compromised after the backup may not be known to it.
fn held_back(snapshot: &Snapshot, permission: Permission) -> Result<(), Problem> {
    let Some(restored) = snapshot.restored().filter(|_| MAKING.contains(&permission)) else { return Ok(()) };
    let detail = "the deployment was restored from a backup: it verifies and decrypts, and makes nothing new until an operator releases it (claviger restore release)";
    let problem = Problem::new(Code::HeldBack, detail).retry_after(Duration::from_secs(60));
    Err(problem.with("restored_at", restored.at.to_rfc3339_opts(SecondsFormat::Secs, true)))
}

/// The caller may do this to a key that is only about to be.
///
/// # Errors
/// `forbidden`.
pub(super) fn on_new_key(
    state: &AppState,
    snapshot: &Snapshot,
    caller: &Caller,
    permission: Permission,
    key: claviger_policy::KeyFacts<'_>,
) -> Result<(), Problem> {
    caller.decided();
    if state.authorizer.permits(snapshot, &caller.identity, permission, &ResourceRef::Key(key)) {
        Ok(())
    } else {
        Err(forbidden(permission))
    }
}

/// The id of an API key as it stands in paths: 32 hex digits, in lower case and nothing else.
pub(super) fn api_key_id(text: &str) -> Option<Uuid> {
    let id = Uuid::try_parse(text).ok()?;
    (id.simple().to_string() == text).then_some(id)
}

pub(super) fn forbidden(permission: Permission) -> Problem {
    Problem::new(Code::Forbidden, format!("this needs the permission {}", permission.as_str()))
}
