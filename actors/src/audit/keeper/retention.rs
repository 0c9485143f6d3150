//! Rounds through the folder: compress, then remove what is too old or too much.
//!
//! Only what the database vouches for is removed, and the log says so first. A crash in between costs nothing: what is left is found by
//! the next round, which says it again.

use std::{collections::HashMap, io, path::PathBuf, sync::Arc, sync::atomic::Ordering};

use chrono::TimeDelta;
use tokio::time::{Instant, MissedTickBehavior};
use uuid::Uuid;

use super::{
    Around, Keeping, Status, compress, in_time,
    plan::{self, Folder, Kept, Removal},
};
use crate::audit::{
    about::{Anchor, Prunable},
    scan::{self, Scan},
};

pub(super) async fn run(shared: (Keeping, Around, Arc<Status>)) {
    // Not at once: the log may just be finding out where it ended, and must not have its segments moved meanwhile.
    let first = Instant::now() + shared.0.retention_interval;
    let mut rounds = tokio::time::interval_at(first, shared.0.retention_interval);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut retention = Retention::new(shared);
    loop {
        rounds.tick().await;
        retention.round().await;
    }
}

pub(super) struct Retention {
    keeping: Keeping,
    around: Around,
    status: Arc<Status>,
    /// Last segments that the log has said are removed.
    said: HashMap<Uuid, u64>,
}

impl Retention {
    pub(super) fn new((keeping, around, status): (Keeping, Around, Arc<Status>)) -> Self {
        Self { keeping, around, status, said: HashMap::new() }
    }

    #[cfg(test)]
    pub(super) const fn keeping_mut(&mut self) -> &mut Keeping {
        &mut self.keeping
    }

    /// One round. A step that fails does not hold up the others.
    pub(super) async fn round(&mut self) {
        let directory = self.keeping.directory.clone();
        if let Err(error) = blocking(move || compress::all(&directory)).await {
            tracing::warn!(%error, "a closed segment of the audit log was not compressed");
        }
        if let Err(error) = self.remove().await {
            tracing::warn!(%error, "old segments of the audit log were not removed");
        }
        let keep = TimeDelta::from_std(self.keeping.keep).unwrap_or(TimeDelta::MAX);
        if let Some(before) = self.around.clock.now().checked_sub_signed(keep)
            && let Err(error) = in_time(self.around.shelf.forget_events(before)).await
        {
            tracing::warn!(%error, "old events were not removed from the database");
        }
    }

    async fn remove(&mut self) -> io::Result<()> {
        let (directory, room) = (self.keeping.directory.clone(), self.keeping.room);
        let look = move || {
            let folder = Folder::look(&directory)?;
            let room = match room {
                Some(room) => room,
                // A folder that is not there yet has room.
                None if folder.bytes == 0 => u64::MAX,
                None => plan::half_of_volume(&directory)?,
            };
            Ok((folder, room))
        };
        let (folder, room) = blocking(look).await?;
        let removals = folder.plan(self.around.clock.now(), self.keeping.keep, room);
        let mut bytes = folder.bytes;
        let mut done = Ok(());
        for removal in removals {
            match self.carry_out(&removal).await {
                Ok(removed) => bytes -= removed.min(bytes),
                Err(error) => done = Err(error),
            }
        }
        self.judge_room(folder.bytes, bytes, room);
        done
    }

    /// The alert holds until there is a tenth to spare again, so that it does not come and go with every segment.
    fn judge_room(&self, before: u64, after: u64, room: u64) {
        let is_short = self.status.short_of_room.load(Ordering::Relaxed);
        let is_short = before > room || is_short && after > room / 10 * 9;
        self.status.short_of_room.store(is_short, Ordering::Relaxed);
        if after > room {
            tracing::error!(
                bytes = after,
                room,
                "the audit log has more than its share of the volume, and nothing more of it may be removed"
            );
        }
    }

    /// Removes segments of a chain; answers with the bytes that has freed.
    async fn carry_out(&mut self, removal: &Removal) -> io::Result<u64> {
        let Some(anchor) =
            in_time(self.around.shelf.anchor(removal.chain)).await.map_err(io::Error::other)?
        else {
            tracing::warn!(chain = %removal.chain, "segments of the audit log are kept: the database does not vouch for them");
            return Ok(0);
        };
        let vouched = removal.segments.iter().filter(|kept| kept.segment <= anchor.segment);
        let mut segments: Vec<Kept> = vouched.cloned().collect();
        let prunable = loop {
            let Some(last) = segments.last() else { return Ok(0) };
            match prunable(last, &anchor).await? {
                Some(prunable) => break prunable,
                None => drop(segments.pop()),
            }
        };
        if removal.early {
            tracing::error!(
                segments = segments.len(),
                last = prunable.segment,
                "segments of the audit log are removed before their time: their volume is too small"
            );
        }
        let last = prunable.segment;
        if self.said.get(&removal.chain).is_none_or(|said| *said < last) {
            self.around.prune.prune(prunable).await?;
            self.said.insert(removal.chain, last);
        }
        let freed = segments.iter().map(|kept| kept.bytes).sum();
        let (directory, paths) =
            (self.keeping.directory.clone(), segments.into_iter().flat_map(|kept| kept.paths).collect());
        blocking(move || remove(directory, paths)).await?;
        Ok(freed)
    }
}

/// What the log is to say before segments up to this one go; `None` where it has to stay.
async fn prunable(last: &Kept, anchor: &Anchor) -> io::Result<Option<Prunable>> {
    let Some(path) = last.paths.first().cloned() else { return Ok(None) };
    let scanned = blocking(move || scan::scan(&path, &[])).await?;
    let is_its_own = |scan: &Scan| scan.header.chain == last.chain && scan.header.segment == last.segment;
    let Some(scan) = scanned.filter(|scan| !scan.broken && scan.torn == 0 && is_its_own(scan)) else {
        tracing::error!(
            chain = %last.chain,
            segment = last.segment,
            "a closed segment of the audit log is not what it was and is kept; run claviger audit verify"
        );
        return Ok(None);
    };
    let is_vouched_for = scan.last_seq <= anchor.seq;
    Ok(is_vouched_for.then_some(Prunable {
        chain: last.chain,
        segment: last.segment,
        last_seq: scan.last_seq,
        head: scan.head,
    }))
}

/// Oldest first, so that after a crash what is left is still the end of the chain.
fn remove(directory: PathBuf, paths: Vec<PathBuf>) -> io::Result<()> {
    for path in paths {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    std::fs::File::open(directory)?.sync_all()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
