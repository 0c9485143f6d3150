//! What the audit log of this node says of something: who used it, when, from where. The log is read line by line, newest file first, within a
//! bounded time; what was not reached is said.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufRead as _},
    path::Path,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use memchr::memmem::Finder;
use serde::{Deserialize, Serialize};

use crate::{audit::directory, keyring::record::Time};

/// Longest time for reading.
const READ_MAX: Duration = Duration::from_secs(3);
/// Lines between two looks at the clock.
const STRETCH: usize = 1_024;
/// Different uses that are told apart; further ones are counted only.
const LINES_MAX: usize = 1_000;
/// Identifiers of versions that are named for one use.
const KIDS_MAX: usize = 16;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = IncidentUses)]
pub struct Uses {
    /// Each use by each principal from each address.
    pub lines: Vec<UseLine>,
    /// Records that were found.
    pub records: u64,
    /// Older records were not read, for there was no time, or they are gone.
    pub truncated: bool,
}

/// One kind of use by one principal from one address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = IncidentUse)]
pub struct UseLine {
    /// The operation.
    pub operation: String,
    /// Who.
    pub actor: String,
    /// Their id.
    pub actor_id: Option<String>,
    /// From where.
    pub address: Option<String>,
    /// How it ended.
    pub outcome: String,
    /// How often.
    pub count: u64,
    /// When it was done first.
    pub first: DateTime<Utc>,
    /// When it was done last.
    pub last: DateTime<Utc>,
    /// Versions that were used; at most 16.
    pub kids: BTreeSet<String>,
}

/// What to look for: one of these texts in a line, or any line.
pub(super) struct Wanted(pub(super) Vec<String>);

#[derive(Deserialize)]
struct Line {
    ts: DateTime<Utc>,
    #[serde(default)]
    operation: String,
    #[serde(default)]
    actor: String,
    actor_id: Option<String>,
    address: Option<String>,
    #[serde(default)]
    outcome: String,
    kid: Option<String>,
}

type Key = (String, String, Option<String>, Option<String>, String);

#[derive(Default)]
struct Found {
    lines: BTreeMap<Key, UseLine>,
    records: u64,
    truncated: bool,
}

impl Found {
    fn take(&mut self, line: Line) {
        self.records += 1;
        let Line { ts, operation, actor, actor_id, address, outcome, kid } = line;
        let key = (operation, actor, actor_id, address, outcome);
        if self.lines.len() >= LINES_MAX && !self.lines.contains_key(&key) {
            self.truncated = true;
            return;
        }
        let fresh = || UseLine {
            operation: key.0.clone(),
            actor: key.1.clone(),
            actor_id: key.2.clone(),
            address: key.3.clone(),
            outcome: key.4.clone(),
            count: 0,
            first: ts,
            last: ts,
            kids: BTreeSet::new(),
        };
        let fresh = fresh();
        let entry = self.lines.entry(key).or_insert(fresh);
        entry.count += 1;
        entry.first = entry.first.min(ts);
        entry.last = entry.last.max(ts);
        if let Some(kid) = kid.filter(|_| entry.kids.len() < KIDS_MAX) {
            entry.kids.insert(kid);
        }
    }
}

/// Reads a folder. Blocks: not for a thread that others wait for.
pub(super) fn read(folder: &Path, wanted: &Wanted, since: Time) -> io::Result<Uses> {
    let began = Instant::now();
    let contents = directory::list(folder)?;
    let files = contents.current.into_iter().chain(contents.closed.into_iter().rev().map(|file| file.path));
    let finders: Vec<Finder<'_>> = wanted.0.iter().map(|text| Finder::new(text.as_bytes())).collect();
    let mut found = Found::default();
    for path in files {
        let mut lines = match directory::read(&path) {
            Ok(lines) => lines,
            // It was closed, compressed or pruned a moment ago.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                found.truncated = true;
                continue;
            }
            Err(error) => return Err(error),
        };
        let (mut text, mut number, mut is_newer) = (Vec::new(), 0_usize, false);
        loop {
            text.clear();
            if lines.read_until(b'\n', &mut text)? == 0 {
                break;
            }
            number += 1;
            if number.is_multiple_of(STRETCH) && began.elapsed() > READ_MAX {
                found.truncated = true;
                return Ok(finish(found));
            }
            let hits = finders.is_empty() || finders.iter().any(|finder| finder.find(&text).is_some());
            if !hits && is_newer {
                continue;
            }
            let Ok(line) = serde_json::from_slice::<Line>(&text) else { continue };
            is_newer |= line.ts >= since;
            if hits && line.ts >= since {
                found.take(line);
            }
        }
        // Files before it are older still.
        if !is_newer && number > 0 {
            break;
        }
    }
    Ok(finish(found))
}

fn finish(found: Found) -> Uses {
    let mut lines: Vec<UseLine> = found.lines.into_values().collect();
    lines.sort_by_key(|line| std::cmp::Reverse(line.count));
    Uses { lines, records: found.records, truncated: found.truncated }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_counted_by_who_and_from_where() {
        let folder = tempfile::tempdir().unwrap();
        let line = |ts: &str, key: &str, actor: &str, address: &str| {
            format!(
                r#"{{"ts":"2026-11-29T{ts}Z","event":"sign","operation":"key.sign","actor":"{actor}","address":"{address}","key":"{key}","kid":"v","outcome":"ok"}}"#
            )
        };
        let text = [
            line("09:00:00", "k", "early", "192.0.2.1"),
            line("10:00:00", "k", "app", "192.0.2.1"),
            line("10:00:01", "k", "app", "192.0.2.1"),
            line("10:00:02", "k", "app", "192.0.2.2"),
            line("10:00:03", "kk", "app", "192.0.2.2"),
            r#"{"event":"audit_checkpoint"}"#.to_owned(),
            "cut off".to_owned(),
        ];
        std::fs::write(folder.path().join(directory::CURRENT), text.join("\n")).unwrap();
        let since = "2026-11-29T09:30:00Z".parse().unwrap();
        let uses = read(folder.path(), &Wanted(vec![r#""key":"k""#.to_owned()]), since).unwrap();
        assert_eq!((uses.records, uses.truncated, uses.lines.len()), (3, false, 2));
        assert_eq!((uses.lines[0].count, uses.lines[0].address.as_deref()), (2, Some("192.0.2.1")));
        assert!(uses.lines.iter().all(|line| line.actor == "app" && line.kids.contains("v")));
        assert_eq!(read(folder.path(), &Wanted(Vec::new()), since).unwrap().records, 4);
        assert_eq!(read(&folder.path().join("none"), &Wanted(Vec::new()), since).unwrap(), Uses::default());
    }
}
