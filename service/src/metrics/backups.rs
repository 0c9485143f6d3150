//! Backups of this node, and the last one by the schedule in the whole cluster.

use chrono::{DateTime, Utc};

use super::{page::Page, scrape::flag};
use crate::http::state::AppState;

pub(super) fn write(page: &mut Page, state: &AppState) {
    let figures = state.backups.figures();
    let seconds = |at: Option<DateTime<Utc>>| at.map_or(0.0, |at| at.timestamp_millis() as f64 / 1e3);
    page.counters(
        "claviger_backups_total",
        "Backups that this node has begun, by what came of them.",
        [("made", figures.made), ("failed", figures.failed)]
            .map(|(outcome, count)| (vec![("outcome", outcome)], count)),
    );
    page.gauge("claviger_backup_running", "1 while this node makes a backup.", flag(figures.running));
    page.gauge(
        "claviger_backup_last_success_timestamp_seconds",
        "When this node made its last backup; 0 = it has made none.",
        seconds(figures.last_at),
    );
    page.gauge(
        "claviger_backup_scheduled_timestamp_seconds",
        "When the last backup by the schedule was finished, on whatever node; 0 = none is known.",
        seconds(figures.scheduled_at),
    );
    page.gauge(
        "claviger_backup_last_bytes",
        "Length of the last backup of this node.",
        figures.last_bytes as f64,
    );
    page.gauge(
        "claviger_backup_last_rows",
        "Rows of the last backup of this node.",
        figures.last_rows as f64,
    );
    let restored = state.ring.snapshot().restored().is_some();
    page.gauge(
        "claviger_restore_quarantined",
        "1 while the deployment was restored from a backup and is not released.",
        flag(restored),
    );
}
