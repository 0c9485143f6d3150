//! The audit log.

use claviger_config::AuditLevel;

use super::{page::Page, scrape::flag};
use crate::http::state::AppState;

pub(super) fn write(page: &mut Page, state: &AppState) {
    let figures = state.audit.figures();
    page.gauge(
        "claviger_audit_writable",
        "1 while records can be written; otherwise no key is used.",
        flag(state.audit.is_writable()),
    );
    page.gauge(
        "claviger_audit_full",
        "1 while every use is recorded; 0 where uses are only counted (audit.level).",
        flag(state.audit_level == AuditLevel::Full),
    );
    page.counter("claviger_audit_records_total", "Records written.", figures.records as f64);
    page.counter(
        "claviger_audit_groups_total",
        "Writes that held records; records are written together.",
        figures.groups as f64,
    );
    page.counter("claviger_audit_failures_total", "Writes that failed.", figures.failures as f64);
    page.gauge("claviger_audit_waiting", "Records that wait to be written.", figures.waiting as f64);
    page.timings("claviger_audit_write_seconds", "Time that writes took.", [(Vec::new(), figures.writes)]);
    page.counter(
        "claviger_audit_not_copied_total",
        "Records that an optional sink has lost.",
        figures.not_copied as f64,
    );
    let since =
        state.keeper.unanchored_since().map_or(0, |since| (state.clock.now() - since).num_milliseconds());
    page.gauge(
        "claviger_audit_unanchored_seconds",
        "Age of a checkpoint that the database does not have yet; 0 = it has the last one.",
        since.max(0) as f64 / 1e3,
    );
    page.counter(
        "claviger_audit_events_dropped_total",
        "Events that were let go because the database was away for too long; they are in the log.",
        state.keeper.dropped() as f64,
    );
    page.gauge(
        "claviger_audit_events_waiting",
        "Events that wait for the database.",
        state.keeper.waiting() as f64,
    );
    page.gauge(
        "claviger_audit_short_of_room",
        "1 once segments had to be removed before their time.",
        flag(state.keeper.is_short_of_room()),
    );
}
