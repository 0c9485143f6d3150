//! Events: which lines of the change log are some, and who wants to hear of them. Pure.

use std::{collections::BTreeSet, sync::Arc};

use claviger_entity::KeyName;
use serde::Serialize;

use super::line::{Line, Place, Stretch, Tag};
use crate::keyring::Epoch;

/// Topics that one subscriber may name.
const TOPICS_MAX: usize = 100;
/// Everything.
const ALL: &str = "*";

macro_rules! names {
    ($($(#[$meta:meta])* $variant:ident = $text:literal,)+) => {
        /// What happened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum EventName { $($(#[$meta])* $variant,)+ }

        impl EventName {
            /// Every name.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The text form.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

names! {
    /// There is a new key.
    KeyCreated = "key.created",
    /// Another version is the primary.
    KeyRotated = "key.rotated",
    /// A version is not used until it is resumed.
    KeySuspended = "key.suspended",
    /// A version verifies and decrypts again.
    KeyResumed = "key.resumed",
    /// A version is not to be trusted any more.
    KeyCompromised = "key.compromised",
    /// A version's material is gone.
    KeyDestroyed = "key.destroyed",
    /// Tokens are not accepted any more.
    TokenRevoked = "token.revoked",
    /// Something needs an operator.
    AlertRaised = "alert.raised",
    /// It does not any more.
    AlertCleared = "alert.cleared",
    /// Somebody has come or gone.
    Presence = "presence",
    /// The node is well, or not.
    Health = "health",
    /// A device asks to be let in.
    DevicePairRequested = "device.pair.requested",
    /// It was decided whether it is.
    DevicePairResolved = "device.pair.resolved",
    /// A sign of life.
    Tick = "tick",
    /// The whole public state of the ring, in place of what can't be told any more.
    RingSync = "ring.sync",
}

impl EventName {
    /// Reads the text form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|name| name.as_str() == text)
    }

    /// The event that a kind of line is; most kinds are none.
    #[must_use]
    pub fn of_line(kind: &str) -> Option<Self> {
        let of_keys = [
            Self::KeyCreated,
            Self::KeyRotated,
            Self::KeySuspended,
            Self::KeyResumed,
            Self::KeyCompromised,
            Self::KeyDestroyed,
        ];
        of_keys.into_iter().find(|name| name.as_str() == kind)
    }
}

/// One event as clients get it; serialized once, shared by all subscribers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub name: EventName,
    /// The change of the ring that it is; what no log keeps has none.
    pub epoch: Option<Epoch>,
    /// The key that it is about.
    pub topic: Option<String>,
    /// JSON text of the payload.
    pub payload: Arc<str>,
}

/// Payload of what happened to a version of a key.
#[derive(Serialize)]
struct OfKey<'a> {
    name: &'a str,
    version: i64,
    kid: &'a str,
    state: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_version: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// Payload of what became of a pairing request.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OfPairing<'a> {
    request_id: &'a str,
    device_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    decision: &'static str,
}

impl Event {
    /// Something that no log keeps.
    #[must_use]
    pub fn announced(name: EventName, topic: Option<String>, payload: &impl Serialize) -> Self {
        Self { name, epoch: None, topic, payload: json(payload) }
    }

    /// The event that a line of the change log is, if it is one. What happens to the service's own keys is told to nobody.
    #[must_use]
    pub fn of_line(line: &Line) -> Option<Self> {
        match line.kind.as_str() {
            "device.pair.approved" => Self::of_pairing(line, "approved"),
            "device.pair.rejected" => Self::of_pairing(line, "rejected"),
            _ => Self::of_key(line),
        }
    }

    fn of_pairing(line: &Line, decision: &'static str) -> Option<Self> {
        let settled = line.settled.as_ref()?;
        let (request_id, device_id) = (settled.request.as_str(), settled.device.as_str());
        let payload = OfPairing { request_id, device_id, role: settled.role.as_deref(), decision };
        Some(Self {
            epoch: Some(line.place.epoch),
            ..Self::announced(EventName::DevicePairResolved, None, &payload)
        })
    }

    fn of_key(line: &Line) -> Option<Self> {
        let name = EventName::of_line(&line.kind)?;
        let key = line.key.as_deref()?;
        if key.parse::<KeyName>().is_err() {
            return None;
        }
        let payload = OfKey {
            name: key,
            version: line.version?,
            kid: line.kid.as_deref()?,
            state: line.state.as_deref()?,
            previous_version: line.previous_version,
            reason: line.reason.as_deref(),
        };
        Some(Self {
            name,
            epoch: Some(line.place.epoch),
            topic: Some(key.to_owned()),
            payload: json(&payload),
        })
    }
}

/// Whatever is told consists of texts and numbers, and those can be written.
pub(super) fn json(payload: &impl Serialize) -> Arc<str> {
    serde_json::to_string(payload).map_or_else(|_| Arc::from("{}"), Arc::from)
}

/// What a subscriber wants to hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// `None` = everything.
    named: Option<BTreeSet<String>>,
}

/// A topic that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTopic {
    /// Neither a key, nor an event, nor everything.
    #[error("a topic is the name of a key, the name of an event, or *")]
    Unknown,
    /// More than anybody needs.
    #[error("name at most 100 topics, or * for all")]
    TooMany,
}

impl Topics {
    /// Everything.
    #[must_use]
    pub const fn all() -> Self {
        Self { named: None }
    }

    /// Names of keys, names of events, or `*`; without any, everything.
    ///
    /// # Errors
    /// See [`BadTopic`].
    pub fn parse(topics: Option<&[String]>) -> Result<Self, BadTopic> {
        let Some(topics) = topics.filter(|topics| !topics.is_empty()) else { return Ok(Self::all()) };
        if topics.len() > TOPICS_MAX {
            return Err(BadTopic::TooMany);
        }
        let is_topic = |topic: &String| {
            topic == ALL || EventName::parse(topic).is_some() || topic.parse::<KeyName>().is_ok()
        };
        if !topics.iter().all(is_topic) {
            return Err(BadTopic::Unknown);
        }
        let named = (!topics.iter().any(|topic| topic == ALL)).then(|| topics.iter().cloned().collect());
        Ok(Self { named })
    }

    /// The subscriber wants this one. What stands for events that can't be told any more is for everybody.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        let Some(named) = &self.named else { return true };
        event.name == EventName::RingSync
            || named.contains(event.name.as_str())
            || event.topic.as_ref().is_some_and(|topic| named.contains(topic))
    }

    /// The subscriber wants to know how this key stands.
    #[must_use]
    pub fn wants_key(&self, name: &str) -> bool {
        let Some(named) = &self.named else { return true };
        // Whoever wants an event wants it of every key.
        named.contains(name) || named.iter().any(|topic| EventName::of_line(topic).is_some())
    }
}

/// Events of one change, or of a part of one that has very many, in the order of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// They themselves, with their places.
    pub events: Vec<(Place, Arc<Event>)>,
    /// Nothing of the log is between them and this place.
    pub end: Place,
    /// The history up to there.
    pub tag: Option<Tag>,
}

/// The events of a stretch of the log that continues `after` and leads to the end of the change `until`, or towards it; and the place that it leads
/// to. A batch without events tells how far that is, or that a change of which a part was told has ended. `None` when a line is missing or was touched: then nobody can tell what has happened.
#[must_use]
pub fn batches(after: Place, until: Epoch, stretch: &Stretch) -> Option<(Vec<Batch>, Place)> {
    let (mut batches, mut at): (Vec<Batch>, Place) = (Vec::new(), after);
    let mut lines = stretch.lines.iter().peekable();
    while let Some(line) = lines.next() {
        if !continues(at, line.place) || !line.is_sound || line.place.epoch > until {
            return None;
        }
        at = line.place;
        let event = Event::of_line(line).map(|event| (at, Arc::new(event)));
        match batches.last_mut().filter(|batch| batch.end.epoch == at.epoch && !batch.end.is_end()) {
            Some(batch) => {
                batch.events.extend(event);
                batch.end = at;
            }
            None => batches.push(Batch { events: event.into_iter().collect(), end: at, tag: line.tag }),
        }
        let next = lines.peek().map(|next| next.place).or(stretch.next);
        if next.is_none_or(|next| next.epoch > at.epoch) {
            at = Place::end_of(at.epoch);
            if let Some(batch) = batches.last_mut() {
                batch.end = at;
            }
        }
    }
    if stretch.next.is_none() {
        if at.epoch != until {
            return None;
        }
        at = Place::end_of(until);
    }
    let last = batches.last().map(|batch| batch.end);
    let ends_a_part = |batch: &Batch| !after.is_end() && batch.end.epoch == after.epoch;
    batches.retain(|batch| !batch.events.is_empty() || Some(batch.end) == last || ends_a_part(batch));
    Some((batches, at))
}

/// A line stands right behind a place.
fn continues(after: Place, line: Place) -> bool {
    let is_next = line.ordinal == 0 && line.epoch.0 == after.epoch.0.wrapping_add(1);
    let is_further = line.epoch == after.epoch && line.ordinal == after.ordinal.wrapping_add(1);
    if after.is_end() { is_next } else { is_next || is_further }
}
