//! Who is connected: to this node in memory, to the others by way of Redis, where every node writes its own and reads the rest.
//!
//! Nothing hangs on it. Without Redis a node knows its own; what others wrote is taken for what somebody may have forged.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use uuid::Uuid;

use super::{
    core::{Event, EventName},
    hub::Shared,
};
use crate::clock::uptime;

mod redis;
pub(super) use redis::Sharing;

/// Sessions of one node that are known by name, and of all the others together.
const OWN_MAX: usize = 20_000;
/// Sessions that are named to whoever asks.
const NAMED_MAX: usize = 1_000;
/// Comings and goings that are told in a second; of the others whoever asks learns.
const TOLD_A_SECOND: u32 = 50;
/// Longest text in an entry.
const TEXT_MAX: usize = 128;
/// Roles that a session may have.
const ROLES: [&str; 2] = ["operator", "node"];

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Presence {
    /// Of the connection.
    pub conn_id: Uuid,
    /// The node that it is connected to.
    pub node: String,
    /// `operator` or `node`.
    pub role: String,
    /// What the client calls itself.
    pub client_id: String,
    /// Its device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// When it was let in.
    pub since: DateTime<Utc>,
}

impl Presence {
    /// An entry as a node would have written it. Whoever can write to Redis can write others.
    pub(super) fn read(conn_id: &str, text: &str) -> Option<Self> {
        let presence: Self = serde_json::from_str(text).ok()?;
        let is_text =
            |text: &str| (1..=TEXT_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
        let is_device =
            |id: &String| id.len() == 64 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let is_sound = presence.conn_id.to_string() == conn_id
            && is_text(&presence.node)
            && is_text(&presence.client_id)
            && ROLES.contains(&presence.role.as_str())
            && presence.device_id.as_ref().is_none_or(is_device);
        is_sound.then_some(presence)
    }
}

/// The payload of `presence`: one that has gone says so.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    presence: &'a Presence,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    gone: bool,
}

/// Everybody who is known to be connected.
#[derive(Default)]
pub(super) struct Registry {
    own: Mutex<BTreeMap<Uuid, Presence>>,
    /// Of other nodes, by their starts.
    others: Mutex<BTreeMap<String, Others>>,
    /// Somebody writes what has changed to Redis.
    is_shared: bool,
    /// Of this node, what Redis does not have yet.
    changed: Mutex<BTreeSet<Uuid>>,
    /// Told when there is something of the kind.
    news: Notify,
    /// The second in which comings and goings are told, and how many were.
    second: AtomicU64,
    told: AtomicU32,
}

/// Sessions of another node.
#[derive(Default)]
struct Others {
    revision: String,
    sessions: BTreeMap<Uuid, Presence>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    /// Empty. What changes is remembered only for somebody who shares it.
    pub(super) fn new(is_shared: bool) -> Self {
        Self { is_shared, ..Self::default() }
    }

    /// How many are connected to this node.
    pub(super) fn len(&self) -> usize {
        locked(&self.own).len()
    }

    /// Those of this node, then the others: so many at most, and before them one that must not be missing.
    pub(super) fn some(&self, first: Option<Uuid>, most: usize) -> Vec<Presence> {
        let own = locked(&self.own);
        let mut some: Vec<Presence> = first.and_then(|id| own.get(&id)).cloned().into_iter().collect();
        let rest = most.saturating_sub(some.len());
        let further = own.values().filter(|presence| Some(presence.conn_id) != first);
        some.extend(further.take(rest).cloned());
        drop(own);
        let rest = most.saturating_sub(some.len());
        let others = locked(&self.others);
        some.extend(others.values().flat_map(|node| node.sessions.values()).take(rest).cloned());
        some
    }

    /// As many as are named to whoever asks.
    pub(super) fn all(&self) -> Vec<Presence> {
        self.some(None, NAMED_MAX)
    }

    fn add(&self, presence: Presence) -> bool {
        let id = presence.conn_id;
        let mut own = locked(&self.own);
        if own.len() >= OWN_MAX {
            return false;
        }
        own.insert(id, presence);
        drop(own);
        self.is_changed(id);
        true
    }

    fn remove(&self, id: Uuid) -> Option<Presence> {
        let removed = locked(&self.own).remove(&id)?;
        self.is_changed(id);
        Some(removed)
    }

    fn is_changed(&self, id: Uuid) {
        if !self.is_shared {
            return;
        }
        locked(&self.changed).insert(id);
        self.news.notify_one();
    }

    /// Sessions that may still be known of a node, with those of all the others.
    fn room(&self, boot_id: &str) -> usize {
        let others = locked(&self.others);
        let others = others.iter().filter(|(node, _)| *node != boot_id);
        OWN_MAX.saturating_sub(others.map(|(_, known)| known.sessions.len()).sum())
    }

    /// Takes in what another node has written; answers with who has come and who has gone.
    fn replace(
        &self,
        boot_id: &str,
        revision: String,
        mut sessions: BTreeMap<Uuid, Presence>,
    ) -> Vec<(Presence, bool)> {
        let own: BTreeSet<Uuid> = locked(&self.own).keys().copied().collect();
        let mut others = locked(&self.others);
        let before = others.remove(boot_id).unwrap_or_default().sessions;
        // A connection is one, whoever else claims it.
        sessions.retain(|id, _| {
            !own.contains(id) && !others.values().any(|other| other.sessions.contains_key(id))
        });
        let gone = before.values().filter(|known| !sessions.contains_key(&known.conn_id));
        let come = sessions.values().filter(|known| !before.contains_key(&known.conn_id));
        let news = gone.map(|gone| (gone.clone(), true)).chain(come.map(|come| (come.clone(), false)));
        let news = news.collect();
        if !sessions.is_empty() {
            others.insert(boot_id.to_owned(), Others { revision, sessions });
        }
        news
    }

    /// One more may be told in this second.
    fn may_tell(&self) -> bool {
        let now = uptime().as_secs();
        if self.second.swap(now, Ordering::Relaxed) != now {
            self.told.store(0, Ordering::Relaxed);
        }
        self.told.fetch_add(1, Ordering::Relaxed) < TOLD_A_SECOND
    }
}

impl Shared {
    /// Tells that somebody has come or gone, unless very many do.
    fn tell_presence(&self, presence: &Presence, gone: bool) {
        if self.registry.may_tell() {
            let told = Told { presence, gone };
            self.announce([Event::announced(EventName::Presence, None, &told)]);
        }
    }
}

/// A session that is connected as long as this lives.
pub struct Present {
    shared: Arc<Shared>,
    conn_id: Uuid,
}

impl Present {
    pub(super) fn new(shared: Arc<Shared>, presence: Presence) -> Self {
        let conn_id = presence.conn_id;
        if shared.registry.add(presence.clone()) {
            shared.tell_presence(&presence, false);
        }
        Self { shared, conn_id }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        if let Some(presence) = self.shared.registry.remove(self.conn_id) {
            self.shared.tell_presence(&presence, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presence(client_id: &str) -> Presence {
        Presence {
            conn_id: Uuid::from_u128(7),
            node: "a".to_owned(),
            role: "operator".to_owned(),
            client_id: client_id.to_owned(),
            device_id: None,
            since: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn entries_are_foreign_input() {
        let sound = presence("cli");
        let (id, text) = (sound.conn_id.to_string(), serde_json::to_string(&sound).unwrap());
        assert_eq!(Presence::read(&id, &text), Some(sound.clone()));
        assert_eq!(
            text,
            r#"{"connId":"00000000-0000-0000-0000-000000000007","node":"a","role":"operator","clientId":"cli","since":"1970-01-01T00:00:00Z"}"#
        );
        assert_eq!(Presence::read(&Uuid::nil().to_string(), &text), None);
        let long = "x".repeat(129);
        let unsound = [
            presence(""),
            presence("a\nb"),
            presence(&long),
            Presence { role: "admin".to_owned(), ..sound.clone() },
            Presence { device_id: Some("ABC".to_owned()), ..sound.clone() },
            Presence { node: String::new(), ..sound },
        ];
        for unsound in unsound {
            let text = serde_json::to_string(&unsound).unwrap();
            assert_eq!(Presence::read(&id, &text), None, "{text}");
        }
        for text in ["", "[", &"[".repeat(1_000_000), "null", "{}"] {
            assert_eq!(Presence::read(&id, text), None);
        }
    }

    #[test]
    fn whoever_asks_is_among_those_who_are_named() {
        let registry = Registry::default();
        for number in 0..40 {
            assert!(registry.add(Presence { conn_id: Uuid::from_u128(number), ..presence("own") }));
        }
        let named = registry.some(Some(Uuid::from_u128(33)), 16);
        let distinct: BTreeSet<Uuid> = named.iter().map(|presence| presence.conn_id).collect();
        assert_eq!((named[0].conn_id, distinct.len()), (Uuid::from_u128(33), 16));
        assert_eq!((registry.some(Some(Uuid::nil()), 0).len(), registry.all().len()), (1, 40));
        assert!(locked(&registry.changed).is_empty(), "nobody would ever take it");
        let shared = Registry::new(true);
        assert!(shared.add(presence("own")) && locked(&shared.changed).len() == 1);
    }

    #[test]
    fn who_came_and_who_went_is_told_once() {
        let registry = Registry::default();
        let sessions: BTreeMap<_, _> = [(Uuid::from_u128(7), presence("cli"))].into();
        let come = registry.replace("boot", "1".to_owned(), sessions.clone());
        assert_eq!(come, [(presence("cli"), false)]);
        assert!(registry.replace("boot", "2".to_owned(), sessions).is_empty());
        assert_eq!(registry.all(), [presence("cli")]);
        let gone = registry.replace("boot", String::new(), BTreeMap::new());
        assert_eq!(gone, [(presence("cli"), true)]);
        assert!(registry.all().is_empty());
    }

    #[test]
    fn a_connection_is_of_one_node_and_all_together_are_bounded() {
        let registry = Registry::default();
        let sessions: BTreeMap<_, _> = [(Uuid::from_u128(7), presence("cli"))].into();
        assert_eq!(registry.replace("a", "1".to_owned(), sessions.clone()).len(), 1);
        assert!(registry.replace("b", "1".to_owned(), sessions.clone()).is_empty());
        assert_eq!(registry.all(), [presence("cli")]);
        assert_eq!((registry.room("a"), registry.room("b")), (OWN_MAX, OWN_MAX - 1));
        assert!(registry.add(Presence { conn_id: Uuid::from_u128(8), ..presence("own") }));
        let claimed = [(Uuid::from_u128(8), Presence { conn_id: Uuid::from_u128(8), ..presence("x") })];
        assert!(registry.replace("b", "2".to_owned(), claimed.into()).is_empty());
    }
}
