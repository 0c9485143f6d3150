//! The public state of the ring as one event, and who may see what of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use claviger_crypto::digest;
use claviger_entity::{KeyState, Kid, VersionNumber};
use serde::Serialize;
use tokio::sync::Semaphore;

use super::{
    core::{Event, EventName, Topics, json},
    hub::Shared,
    line::Mark,
};
use crate::keyring::{
    Snapshot,
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

/// How many are made at a time.
const AT_ONCE: usize = 2;
/// Keys that are looked at before others have their turn.
const TURN: usize = 64;
/// Different ones that are kept, and bytes of them.
const KEPT: usize = 16;
const KEPT_BYTES: usize = 16 << 20;

/// The ring as whoever starts anew gets it: made once for all who may see the same keys.
pub(super) struct Syncs {
    permits: Semaphore,
    made: Mutex<Vec<Made>>,
}

struct Made {
    /// Of this one and no other.
    snapshot: Weak<Snapshot>,
    /// Of the names of the keys in it.
    names: [u8; 32],
    event: Arc<Event>,
}

impl Default for Syncs {
    fn default() -> Self {
        Self { permits: Semaphore::new(AT_ONCE), made: Mutex::default() }
    }
}

impl Syncs {
    fn made(&self) -> MutexGuard<'_, Vec<Made>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, snapshot: &Weak<Snapshot>, names: &[u8; 32]) -> Option<Arc<Event>> {
        let mut made = self.made();
        made.retain(|made| made.snapshot.ptr_eq(snapshot));
        made.iter().find(|made| made.names == *names).map(|made| Arc::clone(&made.event))
    }

    fn keep(&self, new: Made) {
        let mut made = self.made();
        made.push(new);
        let bytes = |made: &[Made]| made.iter().map(|made| made.event.payload.len()).sum::<usize>();
        while made.len() > KEPT || bytes(&made) > KEPT_BYTES {
            made.remove(0);
        }
    }
}

/// The public state, of those keys that are wanted and may be seen.
pub(super) async fn of_ring(shared: &Shared, topics: &Topics, sight: &Sight) -> (Arc<Event>, Mark) {
    // It is never closed.
    let _permit = shared.syncs.permits.acquire().await.ok();
    let snapshot = shared.ring.snapshot();
    let mark = Mark::from(snapshot.position());
    let (mut visible, mut names): (Vec<Arc<Key>>, String) = (Vec::new(), String::new());
    for (number, key) in snapshot.ring().keys().enumerate() {
        if number % TURN == TURN - 1 {
            tokio::task::yield_now().await;
        }
        let record = &key.record;
        if record.deleted_at.is_none()
            && !record.name.is_internal()
            && topics.wants_key(record.name.as_str())
            && sight(&snapshot, Seen::Key(record))
        {
            names.push_str(record.name.as_str());
            names.push('\n');
            visible.push(Arc::clone(key));
        }
    }
    let (of, names) = (Arc::downgrade(&snapshot), digest::sha256(names.as_bytes()));
    if let Some(event) = shared.syncs.find(&of, &names) {
        return (event, mark);
    }
    let event = Arc::new(ring_sync(&snapshot, &visible).await);
    shared.syncs.keep(Made { snapshot: of, names, event: Arc::clone(&event) });
    (event, mark)
}

/// The JWKS is JSON already.
async fn ring_sync(snapshot: &Snapshot, visible: &[Arc<Key>]) -> Event {
    let mut text = format!("{{\"epoch\":{},\"jwks\":{},\"keys\":[", snapshot.epoch.0, snapshot.jwks().body);
    for (number, key) in visible.iter().enumerate() {
        if number % TURN == TURN - 1 {
            tokio::task::yield_now().await;
        }
        if number > 0 {
            text.push(',');
        }
        text.push_str(&json(&of_key(key)));
    }
    text.push_str("]}");
    Event { name: EventName::RingSync, epoch: Some(snapshot.epoch), topic: None, payload: text.into() }
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
