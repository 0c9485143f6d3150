//! Which closed segments may go: by age, and by room.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use uuid::Uuid;

use crate::{audit::directory, keyring::record::Time};

/// A closed segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) chain: Uuid,
    pub(super) segment: u64,
    /// Its file; two of them while it is being compressed.
    pub(super) paths: Vec<PathBuf>,
    pub(super) bytes: u64,
    /// When its last line was written.
    pub(super) modified: SystemTime,
}

/// What is in the folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Folder {
    /// Oldest first.
    pub(super) closed: Vec<Kept>,
    /// Of all files.
    pub(super) bytes: u64,
}

/// Segments of a chain that are to go, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Removal {
    pub(super) chain: Uuid,
    pub(super) segments: Vec<Kept>,
    /// Some of them are not old enough.
    pub(super) early: bool,
}

impl Folder {
    pub(super) fn look(directory: &Path) -> io::Result<Self> {
        let mut folder = Self::default();
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(folder),
            entries => entries?,
        };
        for entry in entries {
            folder.bytes += entry?.metadata().map_or(0, |file| file.len());
        }
        let mut kept: BTreeMap<(Uuid, u64), Kept> = BTreeMap::new();
        for closed in directory::list(directory)?.closed {
            let file = fs::metadata(&closed.path)?;
            let modified = file.modified()?;
            let kept = kept.entry((closed.chain, closed.segment)).or_insert_with(|| Kept {
                chain: closed.chain,
                segment: closed.segment,
                paths: Vec::new(),
                bytes: 0,
                modified,
            });
            kept.paths.push(closed.path);
            kept.bytes += file.len();
            kept.modified = kept.modified.max(modified);
        }
        // Chains follow one another; inside one it is the number that counts, whatever the clock said.
        let mut ends: BTreeMap<Uuid, SystemTime> = BTreeMap::new();
        for kept in kept.values() {
            let end = ends.entry(kept.chain).or_insert(kept.modified);
            *end = (*end).max(kept.modified);
        }
        folder.closed = kept.into_values().collect();
        folder.closed.sort_by_key(|kept| (ends.get(&kept.chain).copied(), kept.chain, kept.segment));
        Ok(folder)
    }

    /// What is to go so that nothing is older than `keep` and the folder has at most `room` bytes.
    pub(super) fn plan(&self, now: Time, keep: Duration, room: u64) -> Vec<Removal> {
        let now = SystemTime::from(now);
        let is_old = |kept: &Kept| now.duration_since(kept.modified).is_ok_and(|age| age > keep);
        let mut removals: Vec<Removal> = Vec::new();
        let mut bytes = self.bytes;
        let mut stopped = None;
        for kept in &self.closed {
            if stopped == Some(kept.chain) {
                continue;
            }
            let early = !is_old(kept);
            if early && bytes <= room {
                // Nothing may be missing in the middle of a chain.
                stopped = Some(kept.chain);
                continue;
            }
            bytes -= kept.bytes.min(bytes);
            match removals.last_mut().filter(|removal| removal.chain == kept.chain) {
                Some(removal) => {
                    removal.segments.push(kept.clone());
                    removal.early |= early;
                }
                None => {
                    removals.push(Removal { chain: kept.chain, segments: vec![kept.clone()], early });
                }
            }
        }
        removals
    }
}

/// Half of the volume that a folder is on.
pub(super) fn half_of_volume(directory: &Path) -> io::Result<u64> {
    let volume = rustix::fs::statvfs(directory)?;
    Ok(volume.f_blocks.saturating_mul(volume.f_frsize) / 2)
}
