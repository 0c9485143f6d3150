//! Verifies a log from outside: every line of every chain in a folder, against its signatures and against checkpoints kept elsewhere.
//!
//! What this finds and what nobody can find offline is in `docs/audit.md`. It needs the folder and nothing else, changes nothing, and may
//! run while the service writes there.

mod anchors;
mod chain;
mod folder;
mod key;
mod lines;
mod meter;
mod report;
mod said;
mod segment;
#[cfg(test)]
mod tests;
mod trust;

use std::{collections::BTreeMap, io, path::Path};

pub use key::NotAKey;
pub use report::{Anchors, Chain, Finding, Report};
pub use trust::{NotACheckpoint, Trust};

use chain::Walk;
use folder::Folder;
use meter::Meter;

/// How often a folder is read again because files in it were closed, packed or removed meanwhile.
const ATTEMPTS: usize = 8;

/// Verifies a folder. `progress` is told the bytes that were read and those that there are, now and then.
///
/// # Errors
/// The folder, or a file in it, can't be read. Damage is no error: it is in the report.
pub fn verify(directory: &Path, trust: &Trust, mut progress: impl FnMut(u64, u64)) -> io::Result<Report> {
    let mut attempt = 1;
    loop {
        match once(directory, trust, &mut progress) {
            // A closed segment has been packed or removed since the folder was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => attempt += 1,
            done => return done,
        }
    }
}

fn once(directory: &Path, trust: &Trust, progress: &mut dyn FnMut(u64, u64)) -> io::Result<Report> {
    let folder = Folder::open(directory)?;
    let meter = Meter::new(folder.bytes, progress);
    examine(&folder, trust, &meter)
}

fn examine(folder: &Folder, trust: &Trust, meter: &Meter<'_>) -> io::Result<Report> {
    let mut walks = Vec::new();
    for (chain, parts) in &folder.chains {
        let mut walk = Walk::new(*chain, trust, anchors::held(folder, trust, *chain));
        let followed = parts.iter().try_for_each(|part| walk.part(part, meter));
        walk.stop(followed)?;
        walks.push(walk);
    }
    let pruned: Vec<_> = walks.iter_mut().flat_map(|walk| std::mem::take(&mut walk.pruned)).collect();
    // What was removed is said later, in the same chain or in one that follows it; where that can't be read, nobody knows.
    let from = walks.iter().rposition(|walk| walk.bad.is_some()).map_or(0, |at| at + 1);
    if folder.bad.is_empty() {
        for walk in walks.iter_mut().skip(from) {
            let judged = walk.finish(&pruned);
            walk.stop(judged)?;
        }
    }
    let mut report = Report { pinned: trust.is_pinned(), ..Report::default() };
    let mut said = Vec::new();
    let mut standing = BTreeMap::new();
    for walk in walks {
        standing.insert(walk.chain.chain, walk.standing());
        report.bad.extend(walk.bad);
        report.notes.extend(walk.notes);
        said.extend(walk.said);
        report.anchors.held += walk.held.counted.held;
        report.anchors.pruned += walk.held.counted.pruned;
        report.chains.push(walk.chain);
    }
    report.bad.extend(folder.bad.iter().cloned());
    report.notes.extend(folder.notes.iter().cloned());
    anchors::judge(folder, &standing, &mut report);
    anchors::elsewhere(folder, trust, &pruned, &mut report);
    said.extend(folder.foreign.iter().cloned());
    // What the log itself says was lost is the damage, unless the damage is there to see.
    if report.bad.is_empty() {
        report.bad = said
    } else {
        report.notes.extend(said)
    }
    Ok(report)
}
