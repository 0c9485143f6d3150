//! What is due.

use std::{collections::HashMap, sync::Arc};

use claviger_entity::{KeyName, VersionNumber};

use crate::keyring::{
    core::{Ring, end_of_life_at, lacks_standby, next_retirement_at},
    policy,
    record::{Key, Time},
};

/// One thing to do to one key. Doing it twice does no harm: the ring refuses what is not due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// Publish a standby.
    Standby(KeyName),
    /// Replace this primary.
    Rotation(KeyName, VersionNumber),
    /// Replace this primary, which has encrypted so often.
    Worn(KeyName, VersionNumber),
    /// Erase versions whose grace is over.
    Retirement(KeyName),
    /// Destroy the key.
    EndOfLife(KeyName),
}

/// When something is due for each key. A key is looked at again only when it has changed.
#[derive(Default)]
pub struct Agenda {
    keys: HashMap<KeyName, (Arc<Key>, Option<Time>)>,
}

impl Agenda {
    /// What is due now, at most `limit` things, and when the next thing will be.
    pub fn due(&mut self, ring: &Ring, now: Time, limit: usize) -> (Vec<Due>, Option<Time>) {
        let (mut due, mut next) = (Vec::new(), None::<Time>);
        for key in ring.keys() {
            let at = self.due_at(key, now);
            let Some(at) = at else { continue };
            if at > now {
                next = Some(next.map_or(at, |next| next.min(at)));
            } else if due.len() < limit {
                due.extend(due_of(key, now));
            } else {
                next = Some(now);
            }
        }
        (due, next)
    }

    fn due_at(&mut self, key: &Arc<Key>, now: Time) -> Option<Time> {
        if let Some((seen, at)) = self.keys.get(&key.record.name)
            && Arc::ptr_eq(seen, key)
        {
            return *at;
        }
        let at = if lacks_standby(key) { Some(now) } else { next_at(key) };
        self.keys.insert(key.record.name.clone(), (Arc::clone(key), at));
        at
    }
}

fn next_at(key: &Key) -> Option<Time> {
    [rotation_at(key), next_retirement_at(key), end_of_life_at(key)].into_iter().flatten().min()
}

/// A due rotation waits for the standby's lead.
fn rotation_at(key: &Key) -> Option<Time> {
    Some(policy::next_rotation_at(key)?.max(policy::earliest_activation(key)?))
}

fn due_of(key: &Key, now: Time) -> Vec<Due> {
    let name = || key.record.name.clone();
    let is_due = |at: Option<Time>| at.is_some_and(|at| at <= now);
    if is_due(end_of_life_at(key)) {
        return vec![Due::EndOfLife(name())];
    }
    let mut due = Vec::new();
    if is_due(next_retirement_at(key)) {
        due.push(Due::Retirement(name()));
    }
    if lacks_standby(key) {
        due.push(Due::Standby(name()));
    } else if let (true, Some(primary)) = (is_due(rotation_at(key)), key.primary()) {
        due.push(Due::Rotation(name(), primary.version));
    }
    due
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
