//! What the audit log says that a backup does not: what was revoked, compromised or taken away after the backup was made is known to have been
//! so, and must not be undone by a restore. The rest is counted, so that an operator knows what is lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufRead as _, Read as _},
    path::Path,
};

use chrono::TimeDelta;
use claviger_entity::Kid;
use serde::Deserialize;
use uuid::Uuid;

use crate::{
    audit::{RevocationSubject, directory, line::LINE_MAX},
    keyring::{Epoch, record::Time},
    tokens::{Kind, Mark, Revocation},
};

/// Records of so long before the backup are taken in too: clocks of nodes differ, and to do twice what was done is no harm.
const MARGIN: TimeDelta = TimeDelta::minutes(10);

/// What became of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It was suspended, and not resumed.
    Suspended,
    /// It was compromised.
    Compromised,
    /// It was destroyed.
    Destroyed,
}

/// What the logs hold from about the time of a backup on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replay {
    /// The highest epoch that is named, whenever.
    pub newest_epoch: Option<Epoch>,
    /// The time of the newest record.
    pub newest_at: Option<Time>,
    /// The highest incarnation that is named.
    pub incarnation: u64,
    /// Versions that are not what they were, with the name of their key.
    pub versions: BTreeMap<Kid, (String, u32, Fate)>,
    /// API keys that were deleted.
    pub api_keys: BTreeSet<Uuid>,
    /// Devices that were removed.
    pub devices: BTreeSet<String>,
    /// Tokens that were revoked.
    pub revocations: Vec<Revocation>,
    /// Changes after the backup that are lost, by event.
    pub lost: BTreeMap<String, u64>,
}

/// Members of a record that count here.
#[derive(Debug, Deserialize)]
struct Record {
    ts: Time,
    #[serde(default)]
    event: String,
    #[serde(default)]
    operation: String,
    #[serde(default)]
    outcome: String,
    epoch: Option<u64>,
    key: Option<String>,
    version: Option<u32>,
    kid: Option<String>,
    api_key: Option<String>,
    device: Option<String>,
    revocation: Option<RevocationSubject>,
}

impl Replay {
    /// Reads a folder with an audit log, closed segments and the open one; lines that are none are passed over, as a torn one at its end is.
    ///
    /// # Errors
    /// It can't be read.
    pub fn read(&mut self, folder: &Path, backup: (Epoch, Time)) -> io::Result<()> {
        let contents = directory::list(folder)?;
        let closed = contents.closed.into_iter().map(|closed| closed.path);
        let mut buffer = Vec::new();
        for path in closed.chain(contents.current) {
            let mut lines = directory::read(&path)?;
            loop {
                buffer.clear();
                let limit = LINE_MAX as u64 + 1;
                if lines.by_ref().take(limit).read_until(b'\n', &mut buffer)? == 0 {
                    break;
                }
                if let Ok(record) = serde_json::from_slice(&buffer) {
                    self.take(record, backup);
                }
            }
        }
        Ok(())
    }

    /// The logs go on after the backup.
    #[must_use]
    pub fn is_newer(&self, backup: Epoch) -> bool {
        self.newest_epoch.is_some_and(|newest| newest > backup)
    }

    fn take(&mut self, record: Record, (epoch, made_at): (Epoch, Time)) {
        self.newest_at = self.newest_at.max(Some(record.ts));
        if let Some(named) = record.epoch.map(Epoch) {
            self.newest_epoch = self.newest_epoch.max(Some(named));
            self.incarnation = self.incarnation.max(named.incarnation());
        }
        if record.ts < made_at - MARGIN || record.outcome != "ok" {
            return;
        }
        let is_later = record.epoch.is_some_and(|named| Epoch(named) > epoch);
        match record.operation.as_str() {
            "key.suspend" => self.fate(&record, Some(Fate::Suspended)),
            "key.resume" => self.fate(&record, None),
            "key.compromise" => self.fate(&record, Some(Fate::Compromised)),
            "key.destroy" => self.fate(&record, Some(Fate::Destroyed)),
            "api_key.delete" => {
                self.api_keys.extend(record.api_key.as_deref().and_then(|id| Uuid::try_parse(id).ok()));
            }
            "device.pair.remove" => self.devices.extend(record.device),
            operation if is_later && is_change(operation) => *self.lost.entry(record.event).or_default() += 1,
            _ => {}
        }
        self.revocations.extend(record.revocation.as_ref().and_then(revocation));
    }

    fn fate(&mut self, record: &Record, fate: Option<Fate>) {
        let (Some(key), Some(version), Some(Ok(kid))) =
            (&record.key, record.version, record.kid.as_deref().map(str::parse::<Kid>))
        else {
            return;
        };
        let known = self.versions.get(&kid).map(|(_, _, known)| *known);
        match fate {
            // Only a suspension can be taken back.
            None if known == Some(Fate::Suspended) => drop(self.versions.remove(&kid)),
            None => {}
            Some(fate) if known.is_none_or(|known| known < fate) => {
                self.versions.insert(kid, (key.clone(), version, fate));
            }
            Some(_) => {}
        }
    }
}

/// Operations that change what a backup holds, as the log of requests names them.
fn is_change(operation: &str) -> bool {
    [
        "key.create",
        "key.import",
        "key.update",
        "key.rotate",
        "key.delete",
        "key.restore",
        "api_key.create",
        "api_key.rotate",
        "policy.write",
        "policy.delete",
        "device.pair.approve",
        "device.token.rotate",
        "device.token.revoke",
        "secret.write",
        "secret.delete",
        "auth_token.write",
        "auth_token.delete",
        "offline_token.write",
        "offline_token.delete",
        "seal.rotate",
    ]
    .contains(&operation)
}

fn revocation(said: &RevocationSubject) -> Option<Revocation> {
    let mut mark = [0; 16];
    if said.mark.len() != 2 * mark.len() {
        return None;
    }
    for (place, byte) in mark.iter_mut().enumerate() {
        *byte = u8::from_str_radix(said.mark.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(Revocation {
        kind: Kind::from_row(&said.kind)?,
        mark: Mark::from_row(&mark)?,
        cutoff: said.cutoff,
        expires_at: said.until,
        of: said.of,
    })
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::json;

    use super::*;

    fn at(minute: i64) -> Time {
        DateTime::from_timestamp(minute * 60, 0).unwrap()
    }

    fn read(lines: &[serde_json::Value]) -> Replay {
        let folder = tempfile::tempdir().unwrap();
        let mut text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        text.push_str("{\"ts\":\"2026-");
        std::fs::write(folder.path().join(directory::CURRENT), text).unwrap();
        let mut replay = Replay::default();
        replay.read(folder.path(), (Epoch::new(1, 5), at(60))).unwrap();
        replay
    }

    fn of(operation: &str, minute: i64, kid: &str) -> serde_json::Value {
        json!({ "ts": at(minute), "event": "e", "operation": operation, "outcome": "ok", "epoch": (1_u64 << 32) + 6,
            "key": "k", "version": 1, "kid": kid })
    }

    #[test]
    fn what_ended_after_the_backup_stays_ended() {
        let replay = read(&[
            of("key.suspend", 61, "kid-a"),
            of("key.resume", 62, "kid-a"),
            of("key.suspend", 61, "kid-b"),
            of("key.compromise", 61, "kid-c"),
            // What comes late is not taken for a change of mind.
            of("key.suspend", 62, "kid-c"),
            of("key.resume", 63, "kid-c"),
            of("key.destroy", 10, "kid-old"),
        ]);
        let fates: Vec<_> = replay.versions.iter().map(|(kid, (_, _, fate))| (kid.as_str(), *fate)).collect();
        assert_eq!(fates, [("kid-b", Fate::Suspended), ("kid-c", Fate::Compromised)]);
        assert!(replay.is_newer(Epoch::new(1, 5)) && !replay.is_newer(Epoch::new(1, 6)));
        assert_eq!((replay.incarnation, replay.newest_at), (1, Some(at(63))));
    }

    #[test]
    fn refusals_count_for_nothing_and_changes_are_lost() {
        let mut refused = of("key.compromise", 61, "kid-a");
        refused["outcome"] = "forbidden".into();
        let mut early = of("key.create", 61, "kid-a");
        early["epoch"] = ((1_u64 << 32) + 5).into();
        let replay = read(&[refused, of("key.create", 61, "kid-b"), early, of("key.sign", 61, "kid-b")]);
        assert!(replay.versions.is_empty());
        assert_eq!(replay.lost, BTreeMap::from([("e".to_owned(), 1)]));
    }

    #[test]
    fn a_revocation_is_taken_by_its_mark() {
        let said =
            json!({ "kind": "subject", "mark": "00112233445566778899aabbccddeeff", "cutoff": 7, "until": 9 });
        let mut line = of("token.revoke", 61, "kid-a");
        line["revocation"] = said;
        let mut broken = line.clone();
        broken["revocation"]["mark"] = "ää".repeat(8).into();
        let replay = read(&[line, broken]);
        assert_eq!(replay.revocations.len(), 1);
        assert_eq!((replay.revocations[0].cutoff, replay.revocations[0].expires_at), (Some(7), 9));
        assert_eq!(replay.revocations[0].mark.as_bytes()[1], 0x11);
    }
}
