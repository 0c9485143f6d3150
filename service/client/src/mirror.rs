//! A copy of the public state of the ring, kept by events. [`Ring`] is pure; [`Mirror`] hands it to whoever verifies.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::frame::Event;

/// The versions of a key that can still be used for something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyState {
    /// The version that signs or encrypts now.
    pub primary_version: Option<i64>,
    /// All of them.
    pub versions: BTreeMap<i64, VersionState>,
}

/// One version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionState {
    /// Its identifier.
    pub kid: String,
    /// Such as `active`.
    pub state: String,
}

/// The public state of the ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ring {
    /// It was told whole at this epoch.
    whole_at: u64,
    /// Everything up to here is in it.
    epoch: u64,
    jwks: Value,
    keys: BTreeMap<String, KeyState>,
}

/// States in which a version verifies, and is in the JWKS if it is asymmetric.
const VERIFYING: [&str; 3] = ["pre_activation", "active", "deactivated"];

impl Ring {
    /// Reads the payload of `ring.sync`, which is the answer of `ring.get` too. `None` = it is none.
    #[must_use]
    pub fn parse(payload: &Value) -> Option<Self> {
        let epoch = payload.get("epoch")?.as_u64()?;
        let jwks = payload.get("jwks")?;
        jwks.get("keys")?.as_array()?;
        let mut keys = BTreeMap::new();
        for key in payload.get("keys")?.as_array()? {
            let mut state =
                KeyState { primary_version: key.get("primary_version")?.as_i64(), ..KeyState::default() };
            for version in key.get("versions")?.as_array()? {
                let text = |name: &str| Some(version.get(name)?.as_str()?.to_owned());
                let found = VersionState { kid: text("kid")?, state: text("state")? };
                state.versions.insert(version.get("version")?.as_i64()?, found);
            }
            keys.insert(key.get("name")?.as_str()?.to_owned(), state);
        }
        Some(Self { whole_at: epoch, epoch, jwks: jwks.clone(), keys })
    }

    /// The JSON Web Key Set (RFC 7517).
    #[must_use]
    pub const fn jwks(&self) -> &Value {
        &self.jwks
    }

    /// Everything up to here is in it.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The keys by name.
    #[must_use]
    pub const fn keys(&self) -> &BTreeMap<String, KeyState> {
        &self.keys
    }

    /// Takes what an event about a key says, and tells whether it did. What no longer verifies leaves the JWKS at once; what is new is not
    /// in the event, and comes with the next whole ring.
    #[must_use]
    pub fn apply(&mut self, event: &Event) -> bool {
        let Some(epoch) = event.epoch.filter(|epoch| *epoch > self.whole_at && *epoch >= self.epoch) else {
            return false;
        };
        let payload = &event.payload;
        let text = |name: &str| payload.get(name).and_then(Value::as_str);
        let (Some(name), Some(kid), Some(state)) = (text("name"), text("kid"), text("state")) else {
            return false;
        };
        let Some(number) = payload.get("version").and_then(Value::as_i64) else { return false };
        self.epoch = epoch;
        let key = self.keys.entry(name.to_owned()).or_default();
        if state == "active" {
            // At most one version is.
            for version in key.versions.values_mut().filter(|version| version.state == "active") {
                "deactivated".clone_into(&mut version.state);
            }
            key.primary_version = Some(number);
        } else if key.primary_version == Some(number) {
            key.primary_version = None;
        }
        let version = VersionState { kid: kid.to_owned(), state: state.to_owned() };
        key.versions.insert(number, version);
        if !VERIFYING.contains(&state)
            && let Some(Value::Array(keys)) = self.jwks.get_mut("keys")
        {
            keys.retain(|key| key.get("kid").and_then(Value::as_str) != Some(kid));
        }
        true
    }
}

/// The mirror of a session of role `node`. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Mirror(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    ring: Option<Arc<Ring>>,
    confirmed: Option<Instant>,
}

impl Mirror {
    /// The ring; `None` until it was told once.
    #[must_use]
    pub fn ring(&self) -> Option<Arc<Ring>> {
        self.held().ring.clone()
    }

    /// The JSON Web Key Set (RFC 7517); `None` until it was told once.
    #[must_use]
    pub fn jwks(&self) -> Option<Value> {
        self.ring().map(|ring| ring.jwks.clone())
    }

    /// Everything up to this epoch is in it.
    #[must_use]
    pub fn epoch(&self) -> Option<u64> {
        self.ring().map(|ring| ring.epoch)
    }

    /// How long ago the server has given a sign of life to this mirror: up to twice its tick while connected, and growing without bound
    /// while not. Whoever must not use a revoked key for longer than a time stops when this passes it.
    #[must_use]
    pub fn staleness(&self) -> Option<Duration> {
        self.held().confirmed.map(|confirmed| confirmed.elapsed())
    }

    /// The ring as it is told, in place of whatever was there.
    pub(crate) fn replace(&self, ring: Ring) {
        let mut held = self.held();
        held.ring = Some(Arc::new(ring));
        held.confirmed = Some(Instant::now());
    }

    /// The ring as it was asked for; older than what events have told meanwhile, it is of no use. Tells whether it was taken.
    pub(crate) fn refresh(&self, ring: Ring) -> bool {
        let mut held = self.held();
        if held.ring.as_ref().is_some_and(|before| ring.epoch < before.epoch) {
            return false;
        }
        held.ring = Some(Arc::new(ring));
        true
    }

    pub(crate) fn apply(&self, event: &Event) -> bool {
        let mut held = self.held();
        held.ring.as_mut().is_some_and(|ring| Arc::make_mut(ring).apply(event))
    }

    pub(crate) fn confirm(&self) {
        let mut held = self.held();
        if held.ring.is_some() {
            held.confirmed = Some(Instant::now());
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn ring() -> Value {
        json!({
            "epoch": 10,
            "jwks": {"keys": [{"kid": "a1", "kty": "EC"}, {"kid": "a2", "kty": "EC"}]},
            "keys": [{"name": "a", "primary_version": 1, "versions": [
                {"version": 1, "kid": "a1", "state": "active"},
                {"version": 2, "kid": "a2", "state": "pre_activation"},
            ]}],
        })
    }

    fn event(name: &str, epoch: u64, version: i64, state: &str) -> Event {
        let payload = json!({"name": "a", "version": version, "kid": format!("a{version}"), "state": state});
        Event { name: name.to_owned(), epoch: Some(epoch), payload }
    }

    fn kids(ring: &Ring) -> Vec<&str> {
        ring.jwks()["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap()).collect()
    }

    #[test]
    fn events_keep_the_ring() {
        let mut ring = Ring::parse(&ring()).unwrap();
        assert!(!ring.apply(&event("key.suspended", 10, 1, "suspended")), "it is in there already");
        assert!(ring.apply(&event("key.compromised", 12, 1, "compromised")));
        assert_eq!((ring.epoch(), kids(&ring), ring.keys()["a"].primary_version), (12, vec!["a2"], None));
        // The same change has put the standby in its place.
        assert!(ring.apply(&event("key.rotated", 12, 2, "active")));
        assert_eq!(ring.keys()["a"].primary_version, Some(2));
        assert!(!ring.apply(&event("key.rotated", 11, 1, "active")), "older than what is known");
        assert!(ring.apply(&event("key.rotated", 13, 3, "active")));
        let states: Vec<_> =
            ring.keys()["a"].versions.values().map(|version| version.state.as_str()).collect();
        assert_eq!(states, ["compromised", "deactivated", "active"]);
    }

    #[test]
    fn what_is_no_ring_is_none() {
        for (path, value) in [
            ("/epoch", json!(-1)),
            ("/jwks", json!(null)),
            ("/jwks/keys", json!({})),
            ("/keys", json!({})),
            ("/keys/0/name", json!(1)),
            ("/keys/0/versions", json!(null)),
            ("/keys/0/versions/0/kid", json!(1)),
        ] {
            let mut ring = ring();
            *ring.pointer_mut(path).unwrap() = value;
            assert_eq!(Ring::parse(&ring), None, "{path}");
        }
    }

    #[test]
    fn an_answer_that_is_older_than_an_event_is_left_out() {
        let mirror = Mirror::default();
        assert!(mirror.staleness().is_none() && mirror.jwks().is_none());
        mirror.replace(Ring::parse(&ring()).unwrap());
        assert!(mirror.apply(&event("key.compromised", 12, 1, "compromised")));
        assert!(!mirror.refresh(Ring::parse(&ring()).unwrap()));
        assert_eq!(mirror.epoch(), Some(12));
        // A whole ring that the server sends by itself is the truth, whatever its epoch.
        mirror.replace(Ring::parse(&ring()).unwrap());
        assert_eq!(mirror.epoch(), Some(10));
        assert!(mirror.staleness().unwrap() < Duration::from_secs(60));
    }

    proptest! {
        /// However often events are repeated: one primary at most, and nothing that no longer verifies in the JWKS.
        #[test]
        fn repeated_events_do_no_harm(acts in proptest::collection::vec((11_u64..20, 1_i64..5, 0_usize..5), 0..60)) {
            let states = ["active", "suspended", "deactivated", "compromised", "destroyed"];
            let mut ring = Ring::parse(&ring()).unwrap();
            let mut highest = 10;
            for (epoch, version, state) in acts {
                let told = event("key.changed", epoch, version, states[state]);
                let taken = ring.apply(&told);
                prop_assert_eq!(taken, epoch >= highest);
                highest = highest.max(epoch);
                let once = ring.clone();
                let _again = ring.apply(&told);
                prop_assert_eq!(&once, &ring);
                let key = &ring.keys()["a"];
                let active: Vec<_> = key.versions.iter().filter(|(_, version)| version.state == "active").collect();
                prop_assert!(active.len() <= 1);
                prop_assert_eq!(active.first().map(|(number, _)| **number), key.primary_version);
                for kid in kids(&ring) {
                    let version = key.versions.values().find(|version| version.kid == kid).unwrap();
                    prop_assert!(VERIFYING.contains(&version.state.as_str()));
                }
            }
        }
    }
}
