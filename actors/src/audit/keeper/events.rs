//! Events on their way into the database.

use std::sync::{Arc, atomic::Ordering};

use serde_json::json;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

use super::{Around, Job, Keeping, Pauses, Status, in_time};
use crate::store::{EventRow, StoreError};

/// Rows that are written together.
const BATCH_ROWS: usize = 200;
/// What is said where events were let go.
const DROPPED: &str = "audit_events_dropped";

/// What is written together.
#[derive(Default)]
struct Batch {
    rows: Vec<EventRow>,
    waiting: Vec<oneshot::Sender<()>>,
}

pub(super) async fn run(mut queue: mpsc::Receiver<Job>, shared: (Keeping, Around, Arc<Status>)) {
    let (keeping, around, status) = shared;
    while let Some(Batch { mut rows, waiting }) = next(&mut queue, &keeping).await {
        loop {
            rows.extend(dropped(&status, &keeping, &around));
            if rows.is_empty() {
                break;
            }
            write(&rows, &keeping, &around).await;
            rows.clear();
        }
        for waiting in waiting {
            // Whoever waited may have given up.
            let _gone = waiting.send(());
        }
    }
}

/// The first event that comes, and what comes with it.
async fn next(queue: &mut mpsc::Receiver<Job>, keeping: &Keeping) -> Option<Batch> {
    let mut batch = Batch::default();
    let mut job = Some(queue.recv().await?);
    let until = Instant::now() + keeping.batch_interval;
    while let Some(next) = job {
        match next {
            Job::Event(record) => match EventRow::read(record) {
                Some(row) => batch.rows.push(row),
                None => tracing::error!("an event is no record and was not kept"),
            },
            Job::Flush(waiting) => {
                batch.waiting.push(waiting);
                break;
            }
        }
        if batch.rows.len() >= BATCH_ROWS {
            break;
        }
        job = timeout_at(until, queue.recv()).await.unwrap_or(None);
    }
    Some(batch)
}

/// That events were let go, where the database has not been told of all of them.
fn dropped(status: &Status, keeping: &Keeping, around: &Around) -> Option<EventRow> {
    let count = status.untold.swap(0, Ordering::Relaxed);
    if count == 0 {
        return None;
    }
    tracing::error!(
        count,
        "events were not written to the database, which was away or slow; the log has them"
    );
    let record = json!({
        "ts": around.clock.now(),
        "event": DROPPED,
        "operation": DROPPED,
        "actor": "system",
        "node": keeping.node,
        "outcome": "dropped",
        "count": count,
    });
    EventRow::read(record.to_string())
}

/// Writes a batch, however long it takes.
async fn write(rows: &[EventRow], keeping: &Keeping, around: &Around) {
    let mut pauses = Pauses::new(keeping.retry);
    loop {
        match in_time(around.shelf.add_events(rows)).await {
            Ok(()) => return,
            Err(error) if error.is_about_the_rows() => return one_by_one(rows, &error, around).await,
            Err(error) => {
                if pauses.is_first() {
                    tracing::warn!(%error, "events were not written to the database and wait");
                }
                pauses.pause().await;
            }
        }
    }
}

/// One that the database does not take must not stand in the way of the others.
async fn one_by_one(rows: &[EventRow], error: &StoreError, around: &Around) {
    tracing::warn!(%error, "the database does not take some events");
    for row in rows {
        if let Err(error) = in_time(around.shelf.add_events(std::slice::from_ref(row))).await {
            tracing::error!(%error, id = row.id(), "an event was not written to the database; the log has it");
        }
    }
}
