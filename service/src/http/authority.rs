//! Permissions asked about, and what a caller without them is told.
//!
//! What a caller may not even see is not there: the answer is the one for a name that names nothing. The audit log says which it was.

use claviger_actors::{
    audit::Subject,
    keyring::{Snapshot, record::KeyRecord},
};
use claviger_entity::KeyName;
use claviger_policy::{Permission, ResourceRef, Target};
use uuid::Uuid;

use super::{
    problem::{Code, Problem},
    state::{AppState, Caller},
    table::{Route, Scope},
};

/// Asks about the permission of a route, as far as the door can.
///
/// # Errors
/// `forbidden`, or the code of what is not there.
pub(super) fn at_the_door(
    state: &AppState,
    snapshot: &Snapshot,
    caller: &Caller,
    (route, permission): (&Route, Permission),
    segment: impl Fn(&str) -> Option<String>,
) -> Result<(), Problem> {
    match route.scope(permission) {
        Scope::Deployment => {
            if state.authorizer.permits_deployment(snapshot, &caller.identity, permission) {
                caller.decided();
                Ok(())
            } else {
                Err(forbidden(permission))
            }
        }
        Scope::Path(Target::Key) => {
            let name = segment("name").and_then(|name| name.parse::<KeyName>().ok());
            key_in_path(state, snapshot, caller, permission, name.as_ref())
        }
        Scope::Path(Target::ApiKey) => {
            api_key_in_path(state, snapshot, caller, permission, segment("id").as_deref())
        }
        Scope::Path(Target::Policy | Target::Deployment) => {
            policy_in_path(state, snapshot, caller, permission, segment("name").as_deref())
        }
        Scope::Handler if state.authorizer.might(snapshot, &caller.identity, permission) => Ok(()),
        Scope::Handler => Err(forbidden(permission)),
    }
}

/// What a path names, if it is there.
pub(super) fn wanted(
    snapshot: &Snapshot,
    route: &Route,
    permission: Permission,
    segment: impl Fn(&str) -> Option<String>,
) -> Subject {
    let mut subject = Subject::default();
    match route.scope(permission) {
        Scope::Path(Target::Key) => {
            let name = segment("name").and_then(|name| name.parse().ok());
            subject.key = name.filter(|name| snapshot.key(name).is_ok()).map(|name| name.to_string());
        }
        Scope::Path(Target::ApiKey) => {
            let id = segment("id").as_deref().and_then(api_key_id);
            let id = id.filter(|id| snapshot.access().api_key(*id).is_some());
            subject.api_key = id.map(|id| id.simple().to_string());
        }
        Scope::Path(Target::Policy | Target::Deployment) => {
            let name = segment("name").and_then(|name| name.parse().ok());
            let name = name.filter(|name| snapshot.access().policy(name).is_some());
            subject.policy = name.map(|name| name.to_string());
        }
        Scope::Deployment | Scope::Handler => {}
    }
    subject
}

/// The key that a path names.
fn key_in_path(
    state: &AppState,
    snapshot: &Snapshot,
    caller: &Caller,
    permission: Permission,
    name: Option<&KeyName>,
) -> Result<(), Problem> {
    let missing = || Problem::new(Code::KeyNotFound, "there is no such key");
    match snapshot.key(name.ok_or_else(missing)?) {
        Ok(key) => on_key(state, snapshot, caller, permission, &key.record),
        // Nobody can tell what policies would say of a row that can't be read.
        Err(error) if caller.identity.is_admin() => Err(error.into()),
        Err(_) => Err(missing()),
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
        return Ok(());
    }
    if state.authorizer.sees_key(snapshot, &caller.identity, key) {
        return Err(forbidden(permission));
    }
    Err(Problem::new(Code::KeyNotFound, "there is no such key").recorded_as(Code::Forbidden))
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

fn api_key_in_path(
    state: &AppState,
    snapshot: &Snapshot,
    caller: &Caller,
    permission: Permission,
    id: Option<&str>,
) -> Result<(), Problem> {
    let missing = || Problem::new(Code::NotFound, "there is no such API key");
    let id = id.and_then(api_key_id).ok_or_else(missing)?;
    let principal = snapshot.access().api_key(id).ok_or_else(missing)?;
    let record = &principal.record;
    let resource = ResourceRef::ApiKey { id, name: &record.name, roles: &record.roles };
    let seen = [Permission::ApiKeyRead, Permission::ApiKeyRotate, Permission::ApiKeyDelete];
    judge(state, snapshot, caller, permission, (&resource, &seen), missing)
}

fn policy_in_path(
    state: &AppState,
    snapshot: &Snapshot,
    caller: &Caller,
    permission: Permission,
    name: Option<&str>,
) -> Result<(), Problem> {
    let missing = || Problem::new(Code::NotFound, "there is no such policy");
    let name = name.and_then(|name| name.parse().ok()).ok_or_else(missing)?;
    // A policy that does not exist may be written, by whoever may write one of its name.
    let seen = [Permission::PolicyRead, Permission::PolicyWrite, Permission::PolicyDelete];
    judge(state, snapshot, caller, permission, (&ResourceRef::Policy(&name), &seen), missing)
}

fn judge(
    state: &AppState,
    snapshot: &Snapshot,
    caller: &Caller,
    permission: Permission,
    (resource, seen): (&ResourceRef<'_>, &[Permission]),
    missing: impl Fn() -> Problem,
) -> Result<(), Problem> {
    caller.decided();
    let permits = |permission| state.authorizer.permits(snapshot, &caller.identity, permission, resource);
    if permits(permission) {
        return Ok(());
    }
    if seen.iter().any(|permission| permits(*permission)) {
        return Err(forbidden(permission));
    }
    Err(missing().recorded_as(Code::Forbidden))
}

/// The id of an API key as it stands in paths: 32 hex digits, in lower case and nothing else.
pub(super) fn api_key_id(text: &str) -> Option<Uuid> {
    let id = Uuid::try_parse(text).ok()?;
    (id.simple().to_string() == text).then_some(id)
}

pub(super) fn forbidden(permission: Permission) -> Problem {
    Problem::new(Code::Forbidden, format!("this needs the permission {}", permission.as_str()))
}
