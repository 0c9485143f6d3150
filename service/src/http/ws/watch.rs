//! Ends sessions whose credential, device or rights are gone, as soon as that is known here.

use std::{
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use actix_web::{rt::time, web::Data};
use chrono::{DateTime, Utc};
use claviger_actors::{
    keyring::Snapshot,
    session::{
        close::Close,
        methods::{Method, Own, Twin, Verb},
        scopes::{Role, Scopes},
    },
};
use claviger_policy::Permission;

use super::sessions::{Entry, Known};
use crate::{
    auth::Identity,
    http::{
        state::AppState,
        table::{self, Access, Found},
    },
};

/// Shortest time between two looks at all tokens.
const LOOK: Duration = Duration::from_millis(200);
/// Looks between two at credentials that end by themselves.
const ENDS: u32 = 5;
/// Sessions that are judged without a pause.
const STRETCH: usize = 256;
/// The same where each may have a chain of signatures to be verified.
const STRETCH_OF_CHAINS: usize = 16;

/// Looks at every ring and every revocation.
pub async fn watch(state: Data<AppState>) {
    let (mut changes, mut revocations) = (state.ring.changes(), state.tokens.heard());
    let mut certificates = state.clients.as_ref().map(|clients| clients.changes());
    let mut look = time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut revision = state.ring.snapshot().access_revision();
    let (mut is_revoked, mut is_certified_anew, mut looks) = (false, false, 0_u32);
    loop {
        let is_changed = tokio::select! {
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                true
            }
            _ = look.tick() => false,
        };
        state.sessions.relieve();
        is_revoked |= revocations.has_changed().unwrap_or(false);
        if is_revoked {
            revocations.mark_unchanged();
        }
        if let Some(certificates) = &mut certificates
            && certificates.has_changed().unwrap_or(false)
        {
            certificates.mark_unchanged();
            is_certified_anew = true;
        }
        looks = looks.wrapping_add(1);
        let is_due = is_changed || is_revoked || is_certified_anew || looks % ENDS == 0;
        if !is_due || state.sessions.is_empty() {
            continue;
        }
        let now = state.ring.snapshot().access_revision();
        let why = Why { is_changed, is_revoked, is_certified_anew, is_decided_anew: now != revision };
        revision = now;
        (is_revoked, is_certified_anew) = (false, false);
        look_at_all(&state, why).await;
    }
}

#[derive(Clone, Copy)]
struct Why {
    /// There is another ring.
    is_changed: bool,
    /// Tokens were revoked.
    is_revoked: bool,
    /// There are other authorities of certificates, or other revocations of theirs.
    is_certified_anew: bool,
    /// Policies may judge otherwise.
    is_decided_anew: bool,
}

async fn look_at_all(state: &Data<AppState>, why: Why) {
    let stretch = if why.is_certified_anew { STRETCH_OF_CHAINS } else { STRETCH };
    for (count, entry) in state.sessions.entries().into_iter().enumerate() {
        if count % stretch == stretch - 1 {
            tokio::task::yield_now().await;
        }
        if let Some(known) = entry.known.get()
            && !holds(state, known, why)
        {
            end(&entry);
        }
    }
}

fn end(entry: &Arc<Entry>) {
    entry.handle.cut(Close::revoked());
}

/// The session goes on.
fn holds(state: &AppState, known: &Known, why: Why) -> bool {
    let now = state.clock.now();
    let ends = |until: Option<DateTime<Utc>>| until.is_some_and(|until| until <= now);
    if ends(*known.until.lock().unwrap_or_else(PoisonError::into_inner)) {
        return false;
    }
    let is_certified_anew = why.is_certified_anew && known.standing.has_certificate();
    let asks = why.is_changed || why.is_revoked && known.standing.is_token() || is_certified_anew;
    if !asks {
        return true;
    }
    let snapshot = state.ring.snapshot();
    if let Some(before) = &known.principal
        && !why.is_decided_anew
        && !is_certified_anew
        && !known.standing.is_bound()
        && snapshot.access().api_key(before.record.id).is_some_and(|after| Arc::ptr_eq(before, after))
    {
        // Most sessions, after most changes.
        return true;
    }
    let Ok(identity) = known.standing.identity(state.known(&snapshot), now) else {
        return false;
    };
    // One that was replaced may have an end that it did not have.
    *known.until.lock().unwrap_or_else(PoisonError::into_inner) = known.standing.ends_at(&identity);
    if !why.is_decided_anew {
        return true;
    }
    if known.listens.load(Ordering::SeqCst) && !may_listen(state, &snapshot, &identity) {
        return false;
    }
    let has_rights = has_rights(state, &snapshot, &identity, known.session);
    let had_rights = known.has_rights.swap(has_rights, Ordering::Relaxed);
    has_rights || !had_rights
}

/// It may be told of events at all.
pub(super) fn may_listen(state: &AppState, snapshot: &Snapshot, identity: &Identity) -> bool {
    state.authorizer.permits_deployment(snapshot, identity, Permission::EventsRead)
}

/// There is something among the methods of a session that its policies may let it do.
pub(super) fn has_rights(
    state: &AppState,
    snapshot: &Snapshot,
    identity: &Identity,
    (role, scopes): (Role, Scopes),
) -> bool {
    let mut needed = Method::open_to(role, scopes).filter_map(permission);
    needed.any(|permission| state.authorizer.might(snapshot, identity, permission))
}

fn permission(method: &Method) -> Option<Permission> {
    match method.twin {
        Twin::Rest { verb, pattern } => {
            let verb = match verb {
                Verb::Get => actix_web::http::Method::GET,
                Verb::Post => actix_web::http::Method::POST,
                Verb::Delete => actix_web::http::Method::DELETE,
            };
            match table::find(&verb, pattern) {
                Found::Route(route) => match route.access {
                    Access::Needs(permission) => Some(permission),
                    Access::Public => None,
                },
                Found::OtherMethod(_) | Found::Nothing => None,
            }
        }
        Twin::Own(Own::Subscribe) => Some(Permission::EventsRead),
        Twin::Own(Own::Unsubscribe | Own::Heartbeat) => None,
    }
}

#[cfg(test)]
mod tests {
    use claviger_actors::session::methods::METHODS;

    use super::*;

    /// One implementation, two doors: whatever is called over a session is a route.
    #[test]
    fn every_method_has_its_twin_in_the_table() {
        for method in METHODS {
            match method.twin {
                Twin::Rest { pattern, .. } => {
                    let is_public = pattern == "/health";
                    assert_eq!(permission(method).is_none(), is_public, "{}", method.name);
                }
                Twin::Own(_) => {}
            }
        }
    }
}
