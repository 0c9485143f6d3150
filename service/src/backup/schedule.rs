//! Backups by the schedule: one a moment in the whole cluster, into a folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
    time::Duration,
};

use actix_web::web::Data;
use chrono::{DateTime, Utc};
use claviger_actors::{alerts::Scheduled, audit::event_of, keyring::policy};
use claviger_config::Backup;
use serde_json::json;
use uuid::Uuid;

use super::Draft;
use crate::{files, http::state::AppState};

/// How often the schedule is looked at.
const LOOK: Duration = Duration::from_secs(5);
const PREFIX: &str = "claviger-";
const SUFFIX: &str = ".age";
const OPERATION: &str = "backup.create";

/// Keeps the schedule for as long as the node runs.
pub(crate) async fn keep(state: Data<AppState>, settings: Backup) {
    let Some(schedule) = settings.schedule.clone() else { return };
    let mut tick = actix_web::rt::time::interval(LOOK);
    let began = state.clock.now();
    // The moment that this node has dealt with last, one way or the other, and whether it could not make that backup.
    let (mut done, mut failed) = (None, None);
    loop {
        tick.tick().await;
        if state.is_draining() {
            return;
        }
        match state.ring.last_backup().await {
            Ok(last) => {
                state.backups.tally.scheduled_at.store(last.unwrap_or(0), Ordering::Relaxed);
                let last = last.and_then(DateTime::from_timestamp_millis);
                failed = failed.filter(|slot| last.is_none_or(|last| last < *slot));
                // Where there was never any, nobody knows since when there is a schedule.
                let due = policy::next_due(&schedule, last.unwrap_or(began)).ok().flatten();
                let is_kept = state.ring.snapshot().restored().is_none();
                let standing = due.map(|due_at| Scheduled { due_at, failed: failed.is_some() });
                state.backups.keeps(standing.filter(|_| is_kept));
            }
            Err(error) => {
                tracing::warn!(%error, "the schedule of backups waits for the database");
                continue;
            }
        }
        let now = state.clock.now();
        let Ok(Some(slot)) = policy::last_due(&schedule, now) else { continue };
        if done == Some(slot) || state.ring.snapshot().restored().is_some() {
            continue;
        }
        match state.ring.claim_backup(slot, now).await {
            Ok(true) => {
                if let Err(error) = make(&state, &settings, slot).await {
                    tracing::error!(%error, directory = %settings.directory.display(), "the backup of the schedule was not made");
                    failed = Some(slot);
                }
                done = Some(slot);
            }
            // Should that node be gone, the moment is free again later.
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "the schedule of backups waits for the database"),
        }
    }
}

async fn make(state: &AppState, settings: &Backup, slot: DateTime<Utc>) -> io::Result<()> {
    let busy = || io::Error::new(io::ErrorKind::WouldBlock, "another backup is being made");
    let lock = state.backups.lock().cloned().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    files::private_directory(&settings.directory)?;
    // First it is on record, then it is there.
    record(state).await?;
    let deployment = state.ring.snapshot().keychain().deployment();
    let path = settings.directory.join(name(deployment, slot));
    let mut draft = Draft::new(&path)?;
    let mut pieces = state.backups.stream(state, lock).ok_or_else(busy)?;
    while let Some(piece) = pieces.recv().await {
        let piece = piece?;
        draft = blocking(move || {
            let mut draft = draft;
            draft.write(&piece).map(|()| draft)
        })
        .await?;
    }
    blocking(move || draft.put(true)).await?;
    let (figures, now) = (state.backups.figures(), state.clock.now());
    let epoch = state.backups.epoch();
    let finished =
        state.ring.finish_backup((slot, now), (epoch, figures.last_rows, figures.last_bytes)).await;
    finished.map_err(io::Error::other)?;
    tracing::info!(file = %path.display(), rows = figures.last_rows, bytes = figures.last_bytes, "backup made");
    let (directory, keep) = (settings.directory.clone(), settings.keep);
    blocking(move || forget(&directory, deployment, keep)).await
}

/// A disk may take its time.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

async fn record(state: &AppState) -> io::Result<()> {
    let record = json!({
        "ts": state.clock.now(),
        "event": event_of(OPERATION),
        "operation": OPERATION,
        "actor": "system",
        "node": state.node,
        "epoch": state.ring.snapshot().epoch,
        "outcome": "ok",
    });
    state.audit.append(&record, true).await.map_err(io::Error::other)?;
    state.keeper.record(record.to_string());
    Ok(())
}

fn name(deployment: Uuid, slot: DateTime<Utc>) -> String {
    format!("{}{}{SUFFIX}", prefix(deployment), slot.format("%Y%m%dT%H%M%SZ"))
}

fn prefix(deployment: Uuid) -> String {
    let id = deployment.simple().to_string();
    format!("{PREFIX}{}-", id.get(..8).unwrap_or(&id))
}

/// Removes the oldest backups of this deployment beyond so many; their names are in the order of time.
fn forget(directory: &Path, deployment: Uuid, keep: usize) -> io::Result<()> {
    let prefix = prefix(deployment);
    let mut all: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let is_one = path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with(&prefix) && name.ends_with(SUFFIX));
        if is_one {
            all.push(path);
        }
    }
    all.sort();
    let surplus = all.len().saturating_sub(keep);
    for path in all.iter().take(surplus) {
        fs::remove_file(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_one_deployment_go_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let at = |day: i64| DateTime::from_timestamp(1_800_000_000 + day * 86_400, 0).unwrap();
        let (ours, theirs) = (Uuid::new_v4(), Uuid::new_v4());
        let mut names: Vec<String> = (0..5).map(|day| name(ours, at(day))).collect();
        names.extend([name(theirs, at(0)), "notes.txt".to_owned(), ".claviger-draft.age".to_owned()]);
        for name in &names {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        forget(folder.path(), ours, 2).unwrap();
        let left = names.iter().filter(|name| folder.path().join(name).exists());
        assert_eq!(left.collect::<Vec<_>>(), names[3..].iter().collect::<Vec<_>>());
    }
}
