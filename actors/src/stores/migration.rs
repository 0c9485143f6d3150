//! Rows move to the present version of the key, in the background.
//!
//! What is still to be done stands in the rows themselves: each names the version that it is sealed under. So whoever is cut off begins
//! again where it was, and several nodes share the rows, each passing over those that another one holds.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use claviger_entity::{KeyName, Kid};
use tokio::{sync::watch, time::sleep};

use super::crypt;
use crate::{
    keyring::{Epoch, KeyRingHandle, Snapshot},
    store::{Batch, Database, Moved, Scope, StoreError},
};

/// After a change of the key it is looked again once: a value that was under way may have been sealed under the version before.
const AGAIN: Duration = Duration::from_secs(5);
/// How often it is looked while the key stays as it is, when there should be nothing to do.
const RARELY: Duration = Duration::from_secs(600);
/// Pause after a round in which nothing could be moved.
const REST: Duration = Duration::from_secs(30);
/// Versions that are looked for at once; a key has this many after decades.
const KIDS_MAX: usize = 1_000;

/// How fast rows move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Rows a second, on each node.
    pub rate: u32,
    /// Rows of one transaction.
    pub batch: u32,
}

impl Pace {
    /// Time that so many rows are to take.
    #[must_use]
    pub fn due(&self, rows: u64) -> Duration {
        let nanos = u128::from(rows) * 1_000_000_000 / u128::from(self.rate.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// How far it is, as this node knows.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Progress {
    /// Rows of all stores, history included.
    pub rows: u64,
    /// Rows that are sealed under another version than the primary.
    pub pending: u64,
    /// Rows that this node has moved since its start.
    pub moved: u64,
    /// Rows of the last round that could not be read; they stay as they are.
    pub failed: u64,
    /// Rows a second of the round under way.
    pub rate: f64,
}

impl Progress {
    /// Seconds until nothing is pending, at the rate of now.
    #[must_use]
    pub fn eta_seconds(&self) -> Option<f64> {
        (self.pending > 0 && self.rate > 0.0).then(|| self.pending as f64 / self.rate)
    }
}

/// The migration of one node.
#[derive(Default)]
pub struct Migration {
    rows: AtomicU64,
    pending: AtomicU64,
    moved: AtomicU64,
    failed: AtomicU64,
    /// In thousandths.
    rate: AtomicU64,
}

impl Migration {
    /// Begins; ends with the last handle.
    pub(super) fn start(ring: KeyRingHandle, pace: Pace) -> Arc<Self> {
        let migration = Arc::<Self>::default();
        let weak = Arc::downgrade(&migration);
        actix::spawn(run(ring, pace, weak));
        migration
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Progress {
            rows: read(&self.rows),
            pending: read(&self.pending),
            moved: read(&self.moved),
            failed: read(&self.failed),
            rate: read(&self.rate) as f64 / 1e3,
        }
    }

    fn moved_on(&self, moved: &Moved, (began, total): (Instant, u64)) {
        self.moved.fetch_add(moved.moved, Ordering::Relaxed);
        let pending = self.pending.load(Ordering::Relaxed).saturating_sub(moved.moved);
        self.pending.store(pending, Ordering::Relaxed);
        let rate = total as f64 / began.elapsed().as_secs_f64().max(1e-3);
        self.rate.store((rate * 1e3) as u64, Ordering::Relaxed);
    }
}

async fn run(ring: KeyRingHandle, pace: Pace, migration: Weak<Migration>) {
    let (mut changes, mut is_settled) = (ring.changes(), false);
    loop {
        let Some(migration) = migration.upgrade() else { return };
        let before = revision(&ring);
        let rest = match round(&ring, pace, &migration).await {
            Ok(Round::Idle) if is_settled => RARELY,
            Ok(Round::Idle) => AGAIN,
            // There may be more: rows that others held, or that came in between.
            Ok(Round::Moved) => Duration::ZERO,
            Ok(Round::Stuck) => REST,
            Err(error) => {
                tracing::warn!(%error, "stored rows could not be moved to the present version of their key");
                REST
            }
        };
        drop(migration);
        is_settled = rest >= AGAIN;
        tokio::select! {
            () = sleep(rest) => {}
            is_changed = changed(&ring, &mut changes, before), if !rest.is_zero() => {
                if !is_changed {
                    return;
                }
                is_settled = false;
            }
        }
    }
}

/// Which state the key is in.
fn revision(ring: &KeyRingHandle) -> Option<u64> {
    ring.snapshot().ring().key(&KeyName::stores()).ok().map(|key| key.record.revision)
}

/// Waits until the key has changed; `false` when the ring is gone.
async fn changed(ring: &KeyRingHandle, changes: &mut watch::Receiver<Epoch>, before: Option<u64>) -> bool {
    while revision(ring) == before {
        if changes.changed().await.is_err() {
            return false;
        }
    }
    true
}

enum Round {
    Idle,
    Moved,
    Stuck,
}

/// One look, and one pass over every table where there is something to do.
async fn round(ring: &KeyRingHandle, pace: Pace, migration: &Migration) -> Result<Round, StoreError> {
    let kids = outdated(&ring.snapshot());
    let wanted = kids.clone();
    let count = |database: Database| async move {
        Ok((database.stored_under(&wanted).await?, database.stored_rows().await?))
    };
    let (pending, rows) = ring.database().at_home(count).await?;
    migration.pending.store(pending, Ordering::Relaxed);
    migration.rows.store(rows, Ordering::Relaxed);
    if pending == 0 {
        migration.failed.store(0, Ordering::Relaxed);
        migration.rate.store(0, Ordering::Relaxed);
        return Ok(Round::Idle);
    }
    tracing::info!(pending, "stored rows move to the present version of their key");
    let (began, mut total, mut failed) = (Instant::now(), 0, 0);
    for scope in Scope::ALL {
        let mut after = String::new();
        loop {
            let moved = batch(ring, (scope, &kids), &after, pace).await?;
            total += moved.moved;
            failed += moved.failed;
            migration.moved_on(&moved, (began, total));
            let Some(last) = moved.last else { break };
            after = last;
            sleep(pace.due(total + failed).saturating_sub(began.elapsed())).await;
        }
    }
    migration.failed.store(failed, Ordering::Relaxed);
    migration.rate.store(0, Ordering::Relaxed);
    if failed > 0 {
        tracing::warn!(failed, "stored rows can't be read and stay under an older version of their key");
    }
    Ok(if total > 0 { Round::Moved } else { Round::Stuck })
}

/// Versions of the key under which there may be rows, but for the primary; none while there is no primary to move to.
pub(super) fn outdated(snapshot: &Snapshot) -> Vec<String> {
    let name = KeyName::stores();
    let (Ok(key), Ok(primary)) = (snapshot.ring().key(&name), snapshot.primary(&name)) else {
        return Vec::new();
    };
    let is_other = |kid: &Kid| *kid != primary.version.kid;
    let kids = key.versions.values().rev().filter(|version| version.sealed.is_some());
    let kids = kids.map(|version| &version.kid).filter(|kid| is_other(kid));
    kids.take(KIDS_MAX).map(|kid| kid.as_str().to_owned()).collect()
}

/// One transaction. When the key has changed in between it does nothing, and says that there was nothing.
async fn batch(
    ring: &KeyRingHandle,
    (scope, kids): (Scope, &[String]),
    after: &str,
    pace: Pace,
) -> Result<Moved, StoreError> {
    let (snapshot, kids, after) = (ring.snapshot(), kids.to_vec(), after.to_owned());
    let question = move |database: Database| async move {
        let turn = database.take_stores_turn().await?;
        let key = snapshot.ring().key(&KeyName::stores());
        if !key.is_ok_and(|key| key.record.revision == turn.key_revision) {
            return Ok(Moved::default());
        }
        let batch = Batch { scope, kids: &kids, after: &after, limit: pace.batch.into() };
        let reseal = |item: &super::Item| crypt::reseal(&snapshot, item);
        let moved = turn.migrate(snapshot.keychain(), &batch, &reseal).await?;
        turn.commit(None).await?;
        Ok(moved)
    };
    ring.database().at_home(question).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_their_time() {
        let pace = Pace { rate: 200, batch: 50 };
        assert_eq!(pace.due(50), Duration::from_millis(250));
        assert_eq!(Pace { rate: 0, ..pace }.due(2), Duration::from_secs(2));
        let progress = Progress { pending: 100, rate: 50.0, ..Progress::default() };
        assert_eq!(progress.eta_seconds(), Some(2.0));
        assert_eq!(Progress { rate: 0.0, ..progress }.eta_seconds(), None);
    }
}
