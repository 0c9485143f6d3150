//! Quotas at the door: whoever asks for more than their share is told when to come back.
//!
//! Header fields are those of draft-ietf-httpapi-ratelimit-headers-10.

use std::{fmt::Write as _, net::IpAddr, time::Duration};

use actix_web::{
    dev::ServiceRequest,
    http::header::{HeaderMap, HeaderName, HeaderValue},
};
use claviger_actors::quotas::{Class, Standing};
use claviger_policy::Permission;
use uuid::Uuid;

use super::{
    problem::{Code, Problem},
    state::{AppState, Caller},
    table::{Access, Kind, Route},
};
use crate::auth::network_of;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LEFT: HeaderName = HeaderName::from_static("ratelimit");

/// What an answer says of quotas.
#[derive(Debug, Clone)]
pub struct Rates {
    policy: HeaderValue,
    left: HeaderValue,
}

impl Rates {
    fn of(standings: &[Standing]) -> Option<Self> {
        let (mut policy, mut left) = (String::new(), String::new());
        for Standing { class, quota, remaining, reset, .. } in standings {
            let between = if policy.is_empty() { "" } else { ", " };
            let (class, window, reset) = (class.as_str(), quota.window.as_secs(), whole(*reset));
            // Writing to a string does not fail.
            let _written = write!(policy, "{between}\"{class}\";q={};w={window}", quota.count);
            let _written = write!(left, "{between}\"{class}\";r={remaining};t={reset}");
        }
        let (policy, left) = (HeaderValue::from_str(&policy).ok()?, HeaderValue::from_str(&left).ok()?);
        (!standings.is_empty()).then_some(Self { policy, left })
    }

    /// Puts it into an answer.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        headers.insert(POLICY, self.policy.clone());
        headers.insert(LEFT, self.left.clone());
    }
}

/// Seconds, begun ones counted.
fn whole(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

impl Route {
    /// It uses a key, or what is stored. Changes of keys and rights, looks, and revocations are not held up, whoever asks for how much.
    pub(super) fn is_data(&self) -> bool {
        let Access::Needs(permission) = self.access else { return false };
        let is_use = self.kind == Kind::Use && permission != Permission::BackupCreate;
        is_use || permission.target().is_stored() || permission == Permission::TokenRefresh
    }
}

/// A request to what is limited.
///
/// # Errors
/// `rate_limited`.
pub(super) fn admit(
    state: &AppState,
    route: &Route,
    request: &ServiceRequest,
    caller: &Caller,
) -> Result<Option<Rates>, Problem> {
    if !route.is_data() {
        return Ok(None);
    }
    let quotas = &state.quotas;
    let mut standings = Vec::with_capacity(3);
    standings.extend(quotas.ask(Class::Principal, caller.identity.id().as_u128()));
    if quotas.limits(Class::Address) {
        let address = state.addresses.client(request.peer_addr(), request.headers());
        standings.extend(quotas.ask(Class::Address, bits(address)));
    }
    if let Some(key) = caller.key {
        standings.extend(quotas.ask(Class::Key, key.as_u128()));
    }
    match standings.iter().find(|standing| standing.wait.is_some()) {
        Some(refused) => Err(refusal(refused, &standings)),
        None => Ok(Rates::of(&standings)),
    }
}

/// A request for a key that its body or a token in it names.
///
/// # Errors
/// `rate_limited`.
pub(super) fn on_key(state: &AppState, key: Uuid) -> Result<(), Problem> {
    judged(state.quotas.ask(Class::Key, key.as_u128()))
}

/// A refresh of a family of tokens.
///
/// # Errors
/// `rate_limited`.
pub(super) fn on_family(state: &AppState, family: Uuid) -> Result<(), Problem> {
    judged(state.quotas.ask(Class::Grant, family.as_u128()))
}

/// A refresh token that somebody who is known has made up.
///
/// # Errors
/// `rate_limited`.
pub(super) fn on_made_up(state: &AppState, caller: &Caller) -> Result<(), Problem> {
    judged(state.quotas.ask(Class::Failure, caller.identity.id().as_u128()))
}

/// A failed attempt from an address: how long further ones are of no use.
pub(super) fn failed(state: &AppState, address: IpAddr) -> Option<Standing> {
    state.quotas.ask(Class::Failure, bits(address)).filter(|standing| standing.wait.is_some())
}

/// A trial of the password from an address: how long further ones are of no use.
pub(super) fn tried(state: &AppState, address: IpAddr) -> Option<Duration> {
    state.quotas.ask(Class::Grant, bits(address))?.wait
}

fn judged(standing: Option<Standing>) -> Result<(), Problem> {
    match standing {
        Some(standing) if standing.wait.is_some() => Err(refusal(&standing, &[standing])),
        Some(_) | None => Ok(()),
    }
}

/// What whoever has asked for too much is told.
pub(super) fn refusal(refused: &Standing, all: &[Standing]) -> Problem {
    let what = match refused.class {
        Class::Principal => "the quota of this credential is used up",
        Class::Key => "the quota of this key is used up",
        Class::Address => "the quota of this address is used up",
        Class::Failure => "there were too many attempts with wrong credentials; send a valid one",
        Class::Grant => "this family of tokens is refreshed too often",
    };
    let detail = format!("{what}; try again after the time in Retry-After");
    let problem = Problem::new(Code::RateLimited, detail);
    problem.retry_after(refused.wait.unwrap_or(refused.reset)).with_rates(Rates::of(all))
}

/// The network of one client, as a number.
fn bits(address: IpAddr) -> u128 {
    match network_of(address) {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use claviger_actors::quotas::Quota;

    use super::*;
    use crate::http::table::ROUTES;

    #[test]
    fn fields_are_lists_of_structured_items() {
        let standing = |class, count, remaining, reset| Standing {
            class,
            quota: Quota { count, window: Duration::from_secs(60) },
            remaining,
            reset: Duration::from_millis(reset),
            wait: None,
        };
        assert!(Rates::of(&[]).is_none());
        let both = [standing(Class::Principal, 100, 99, 600), standing(Class::Key, 7, 0, 60_000)];
        let mut headers = HeaderMap::new();
        Rates::of(&both).unwrap().write(&mut headers);
        assert_eq!(headers.get("ratelimit-policy").unwrap(), "\"principal\";q=100;w=60, \"key\";q=7;w=60");
        assert_eq!(headers.get("ratelimit").unwrap(), "\"principal\";r=99;t=1, \"key\";r=0;t=60");
    }

    /// P10: whatever is used up, keys can be rotated, tokens revoked, nodes watched.
    #[test]
    fn steering_is_never_limited() {
        let limited: Vec<&str> =
            ROUTES.iter().filter(|route| route.is_data()).map(|route| route.event).collect();
        for event in
            ["key.sign", "key.encrypt", "token.issue", "token.verify", "token.refresh", "secret.read"]
        {
            assert!(limited.contains(&event), "{event}");
        }
        for event in [
            "key.rotate",
            "key.compromise",
            "backup.create",
            "token.revoke",
            "health",
            "jwks",
            "metrics.read",
            "cluster.read",
        ] {
            assert!(!limited.contains(&event), "{event}");
        }
    }
}
