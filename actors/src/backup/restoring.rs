//! Writes a backup that was judged into an empty database.

use std::path::Path;

use serde_json::{Value, json};

use super::{
    BackupError, Judged, Opening, Progress,
    format::{TableHead, Trailer},
    judging::{Pass, Take, header},
    lines::Reader,
};
use crate::{
    audit::event_of,
    keyring::{Epoch, record::Time},
    store::{BackupTable, Database, Restored, Writing},
};

/// Rows that are written with one statement.
const ROWS: usize = 200;
/// The name of the operation on record.
const OPERATION: &str = "restore.restored";
/// Incarnations are hours since this moment, 2026-01-01T00:00:00Z, unless that is not enough: who restores one backup twice gets two.
const INCARNATIONS_FROM: i64 = 1_767_225_600;

/// How a backup is restored.
#[derive(Debug, Clone)]
pub struct Restore<'a> {
    /// Name of the node that does it, for the record.
    pub node: &'a str,
    /// Incarnations that there have been since the backup, as far as anybody knows.
    pub known: u64,
    /// Rows that were changed outside the service are restored as they are.
    pub with_damaged: bool,
    /// When.
    pub now: Time,
}

/// What was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Where the ring stands now.
    pub epoch: Epoch,
    /// Rows.
    pub rows: u64,
}

/// Writes all of it, or nothing. The deployment serves nobody before [`Database::complete_restore`].
///
/// # Errors
/// See [`BackupError`]: nothing was written then.
pub async fn restore(
    judged: &Judged,
    (path, opening): (&Path, &Opening),
    database: &Database,
    how: &Restore<'_>,
    progress: Progress<'_>,
) -> Result<Written, BackupError> {
    if !judged.trailer.damaged.is_empty() && !how.with_damaged {
        let damaged = judged.trailer.damaged.iter().map(|(table, rows)| format!("{table}: {rows}"));
        return Err(BackupError::DamagedRows(damaged.collect::<Vec<_>>().join(", ")));
    }
    let writing = database.begin_restore().await?.ok_or(BackupError::NotEmpty)?;
    match write(&writing, judged, (path, opening), how, progress).await {
        Ok((position, record)) => {
            writing.commit(&position, (how.now, "operator", record)).await?;
            Ok(Written { epoch: position.epoch, rows: judged.rows })
        }
        Err(error) => {
            writing.give_up().await?;
            Err(error)
        }
    }
}

async fn write(
    writing: &Writing,
    judged: &Judged,
    (path, opening): (&Path, &Opening),
    how: &Restore<'_>,
    progress: Progress<'_>,
) -> Result<(crate::keyring::Position, String), BackupError> {
    let incarnation = incarnation(judged.header.incarnation.max(how.known), how.now);
    let epoch = Epoch::new(incarnation, u32::try_from(judged.header.epoch.counter() + 1).unwrap_or(u32::MAX));
    let record = json!({
        "ts": how.now,
        "event": event_of(OPERATION),
        "operation": OPERATION,
        "actor": "operator",
        "node": how.node,
        "epoch": epoch,
        "outcome": "ok",
        "backup_epoch": judged.header.epoch,
        "backup_made_at": judged.header.made_at,
    })
    .to_string();
    let restored = Restored {
        at: how.now,
        backup: judged.header.epoch,
        made_at: judged.header.made_at,
        complete: false,
    };
    let position =
        writing.deployment(&judged.keychain, (&judged.meta, &restored), (incarnation, &record)).await?;
    let mut reader = Reader::open(path, opening)?;
    let again = header(&mut reader)?;
    let (mut pass, mut collected) = (Pass::new(&again), Collected::default());
    let trailer: Trailer = loop {
        let end = pass.step(&mut reader, &mut collected, progress)?;
        if end.is_some() || collected.is_due() {
            collected.write(writing, judged).await?;
        }
        if let Some(trailer) = end {
            break trailer;
        }
    };
    // The file is the one that was judged.
    if trailer != judged.trailer || again != judged.header {
        return Err(BackupError::Damaged("it was changed while it was read"));
    }
    Ok((position, record))
}

/// Above any before: the next one, or the hours since there were any, whichever is more.
fn incarnation(known: u64, now: Time) -> u32 {
    let hours = u32::try_from((now.timestamp() - INCARNATIONS_FROM) / 3_600).unwrap_or(0);
    u32::try_from(known.saturating_add(1)).unwrap_or(u32::MAX).max(hours)
}

/// Rows that are read and not yet written, of one table.
#[derive(Default)]
struct Collected {
    now: Batch,
    /// Of the table before.
    done: Option<Batch>,
}

#[derive(Default)]
struct Batch {
    table: Option<BackupTable>,
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
}

impl Take for Collected {
    fn table(&mut self, table: BackupTable, head: TableHead) -> Result<(), BackupError> {
        let next = Batch { table: Some(table), columns: head.columns, rows: Vec::new() };
        self.done = Some(std::mem::replace(&mut self.now, next));
        Ok(())
    }

    fn row(&mut self, table: BackupTable, values: Vec<Value>) -> Result<(), BackupError> {
        // The row of the deployment has been written as it is from now on.
        if table != BackupTable::RingMeta {
            self.now.rows.push(values);
        }
        Ok(())
    }
}

impl Collected {
    fn is_due(&self) -> bool {
        self.done.is_some() || self.now.rows.len() >= ROWS
    }

    async fn write(&mut self, writing: &Writing, judged: &Judged) -> Result<(), BackupError> {
        for batch in [self.done.take().as_mut(), Some(&mut self.now)].into_iter().flatten() {
            if let Some(table) = batch.table {
                writing.rows(&judged.keychain, table, (&batch.columns, &batch.rows)).await?;
            }
            batch.rows.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn an_incarnation_is_above_any_before() {
        let at = |seconds| DateTime::from_timestamp(INCARNATIONS_FROM + seconds, 0).unwrap();
        assert_eq!(incarnation(1, at(0)), 2);
        assert_eq!(incarnation(1, at(7 * 3_600)), 7);
        assert_eq!(incarnation(7, at(7 * 3_600)), 8);
        // A clock that was never set.
        assert_eq!(incarnation(3, DateTime::UNIX_EPOCH), 4);
        assert_eq!(incarnation(u64::MAX, at(0)), u32::MAX);
    }
}
