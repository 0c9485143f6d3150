//! The public state of the ring as one event, and who may see what of it.

use std::sync::Arc;

use claviger_entity::{KeyState, Kid, VersionNumber};
use serde::Serialize;
use serde_json::Value;

use super::core::{Event, EventName, Topics, json};
use crate::keyring::{
    Epoch, Snapshot,
    record::{Key, KeyRecord},
};

/// What an event is about, for whoever decides who may see it.
#[derive(Debug, Clone, Copy)]
pub enum Seen<'a> {
    /// A key, which may be gone by now.
    Key(&'a KeyRecord),
    /// A key whose row is damaged, so that nobody can tell what policies would say.
    Damaged,
    /// Revoked tokens.
    Tokens,
    /// Who is connected.
    Presence,
    /// Devices that ask to be let in.
    Devices,
    /// Alerts.
    Alerts,
    /// The health of nodes.
    Health,
}

/// What a subscriber may see, judged by the ring as it is when the event is handed out.
pub type Sight = Arc<dyn Fn(&Snapshot, Seen<'_>) -> bool + Send + Sync>;

/// A subscriber may see an event.
pub(super) fn sees(sight: &Sight, snapshot: &Snapshot, event: &Event) -> bool {
    match event.name {
        EventName::KeyCreated
        | EventName::KeyRotated
        | EventName::KeySuspended
        | EventName::KeyResumed
        | EventName::KeyCompromised
        | EventName::KeyDestroyed => {
            let name = event.topic.as_ref().and_then(|name| name.parse().ok());
            let key = name.and_then(|name| snapshot.ring().any(&name));
            sight(snapshot, key.map_or(Seen::Damaged, |key| Seen::Key(&key.record)))
        }
        EventName::TokenRevoked => sight(snapshot, Seen::Tokens),
        EventName::AlertRaised | EventName::AlertCleared => sight(snapshot, Seen::Alerts),
        EventName::Presence => sight(snapshot, Seen::Presence),
        EventName::DevicePairRequested | EventName::DevicePairResolved => sight(snapshot, Seen::Devices),
        EventName::Health => sight(snapshot, Seen::Health),
        // Made for each subscriber.
        EventName::Tick | EventName::RingSync => true,
    }
}

#[derive(Serialize)]
struct RingSync<'a> {
    epoch: Epoch,
    jwks: Value,
    keys: Vec<OfKey<'a>>,
}

#[derive(Serialize)]
struct OfKey<'a> {
    name: &'a str,
    primary_version: Option<VersionNumber>,
    versions: Vec<OfVersion<'a>>,
}

#[derive(Serialize)]
struct OfVersion<'a> {
    version: VersionNumber,
    kid: &'a Kid,
    state: KeyState,
}

/// The public state, of those keys that are wanted and may be seen.
pub(super) fn ring_sync(snapshot: &Snapshot, may_see: impl Fn(&Key) -> bool) -> Event {
    let jwks = snapshot.jwks();
    let keys = snapshot
        .ring()
        .keys()
        .filter(|key| key.record.deleted_at.is_none() && !key.record.name.is_internal() && may_see(key));
    let sync = RingSync {
        epoch: snapshot.epoch,
        jwks: serde_json::from_str(&jwks.body).unwrap_or(Value::Null),
        keys: keys.map(|key| of_key(key)).collect(),
    };
    Event { name: EventName::RingSync, epoch: Some(snapshot.epoch), topic: None, payload: json(&sync) }
}

/// The same for a subscriber.
pub(super) fn ring_sync_for(snapshot: &Snapshot, topics: &Topics, sight: &Sight) -> Event {
    ring_sync(snapshot, |key| {
        topics.wants_key(key.record.name.as_str()) && sight(snapshot, Seen::Key(&key.record))
    })
}

/// Versions whose material is erased are left out: nobody can use them, and there may be many.
fn of_key(key: &Key) -> OfKey<'_> {
    let living = key.versions.values().filter(|version| !version.state.is_erased());
    OfKey {
        name: key.record.name.as_str(),
        primary_version: key.primary().map(|version| version.version),
        versions: living
            .map(|version| OfVersion { version: version.version, kid: &version.kid, state: version.state })
            .collect(),
    }
}
