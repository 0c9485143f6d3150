//! What is read from the state of the node when somebody asks.

use std::time::Duration;

use claviger_actors::keyring::{Snapshot, figures};

use super::{
    Metrics, alerts, audit, backups, events, issuers, operations::OTHER, page::Page, process, providers,
    sessions, tokens,
};
use crate::http::state::AppState;

pub(super) fn text(metrics: &Metrics, state: &AppState) -> String {
    let snapshot = state.ring.snapshot();
    let is_key = |name: &str| name.parse().map(|name| snapshot.key(&name).is_ok()).unwrap_or(false);
    metrics.operations.prune(is_key);
    let mut page = Page::default();
    node(&mut page, state);
    metrics.requests.write(&mut page);
    metrics.operations.write(&mut page);
    metrics.verifications.write(&mut page);
    keys(&mut page, state, &snapshot, metrics.operations.most());
    ring(&mut page, state, &snapshot);
    cluster(&mut page, state);
    seal(&mut page, state);
    stores(&mut page, state);
    tokens::write(&mut page, state);
    events::write(&mut page, state);
    sessions::write(&mut page, state);
    issuers::write(&mut page, state);
    providers::write(&mut page, state);
    alerts::write(&mut page, state);
    audit::write(&mut page, state);
    backups::write(&mut page, state);
    process::write(&mut page);
    page.text()
}

pub(super) const fn flag(is_so: bool) -> f64 {
    if is_so { 1.0 } else { 0.0 }
}

fn node(page: &mut Page, state: &AppState) {
    let labels = vec![("version", env!("CARGO_PKG_VERSION")), ("node", state.node.as_str())];
    page.gauges("claviger_build_info", "Version of the service and name of the node.", [(labels, 1.0)]);
    page.gauge("claviger_draining", "1 while the node is leaving.", flag(state.is_draining()));
    page.gauge(
        "claviger_scheduler_up",
        "1 while the schedule of rotations is kept.",
        flag(state.rotation.is_alive()),
    );
    let changes = state.rotation.figures().into_iter();
    page.counters(
        "claviger_scheduled_changes_total",
        "Work of the schedule: done by this node, done by another one before, or failed and tried again.",
        changes.map(|(change, outcome, count)| (vec![("change", change), ("outcome", outcome)], count)),
    );
}

/// Every key is looked at, in the order of names; only so many are named.
fn keys(page: &mut Page, state: &AppState, snapshot: &Snapshot, most: usize) {
    let now = state.clock.now();
    let (mut ages, mut rest) = (Vec::new(), None::<f64>);
    let (mut count, mut overdue, mut latest) = (0_u64, 0_u64, Duration::ZERO);
    for key in snapshot.ring().keys() {
        let record = &key.record;
        if record.name.is_internal() || record.deleted_at.is_some() {
            continue;
        }
        count += 1;
        if let Some(late) = figures::overdue(key, now) {
            overdue += 1;
            latest = latest.max(late);
        }
        let Some(age) = figures::primary_age(key, now) else { continue };
        let age = age.num_milliseconds() as f64 / 1e3;
        if ages.len() < most {
            ages.push((vec![("key", record.name.as_str())], age));
        } else {
            rest = Some(rest.map_or(age, |rest| rest.max(age)));
        }
    }
    ages.extend(rest.map(|rest| (vec![("key", OTHER)], rest)));
    page.gauge("claviger_keys", "Keys of the ring.", count as f64);
    page.gauge("claviger_rotation_overdue_keys", "Keys whose rotation is due and not done.", overdue as f64);
    page.gauge(
        "claviger_rotation_overdue_seconds",
        "Time since the first of them was due; 0 = none is.",
        latest.as_secs_f64(),
    );
    let help =
        "Time since the primary of a key became one; of keys without series of their own that of the oldest.";
    page.gauges("claviger_key_primary_age_seconds", help, ages);
}

fn ring(page: &mut Page, state: &AppState, snapshot: &Snapshot) {
    let figures = state.ring.figures();
    page.gauge("claviger_ring_epoch", "Epoch of the ring, as X-Claviger-Epoch.", snapshot.epoch.0 as f64);
    page.gauge(
        "claviger_ring_incarnation",
        "Incarnation of the ring; grows with each restore.",
        snapshot.epoch.incarnation() as f64,
    );
    page.gauge(
        "claviger_ring_rewound",
        "1 while the database lacks changes that this node knows; it serves nothing.",
        flag(state.ring.is_rewound()),
    );
    page.gauge(
        "claviger_quarantined_rows",
        "Rows of the ring that were found damaged and are not used.",
        snapshot.quarantined().len() as f64,
    );
    page.gauge(
        "claviger_ring_changes_waiting",
        "Changes that wait for the one writer, or are being made.",
        figures.waiting as f64,
    );
    page.timings(
        "claviger_ring_wait_seconds",
        "Time that changes waited for the one writer.",
        [(Vec::new(), figures.waits)],
    );
    page.timings(
        "claviger_ring_change_seconds",
        "Time that changes took, waiting included.",
        [(Vec::new(), figures.changes)],
    );
    let (open, idle) = (figures.connections.open, figures.connections.idle);
    page.gauges(
        "claviger_database_connections",
        "Open connections to the database.",
        [
            (vec![("state", "idle")], idle as f64),
            (vec![("state", "in_use")], open.saturating_sub(idle) as f64),
        ],
    );
    page.gauge(
        "claviger_database_connections_max",
        "Connections to the database at most.",
        figures.connections.most as f64,
    );
}

/// What the node has read last; it looks every minute, and all the time while rows move.
fn seal(page: &mut Page, state: &AppState) {
    let locked = flag(state.masters.is_locked());
    page.gauge("claviger_sealed", "1 while the node lacks the master in use; it serves nothing.", locked);
    let latest = state.masters.latest();
    let late = latest.as_ref().and_then(|(_, at)| (state.clock.now() - (*at)?).to_std().ok());
    page.gauge(
        "claviger_master_overdue_seconds",
        "Time since the master should have been rotated; 0 = it need not be yet.",
        late.unwrap_or_default().as_secs_f64(),
    );
    let view = latest.as_ref().map(|(view, _)| view);
    let version = view.map_or(0, |view| view.master_version);
    page.gauge("claviger_master_version", "Number of the master in use; 0 = not read yet.", version as f64);
    let rekey = view.and_then(|view| view.rekey.as_ref());
    let is_moving = rekey.is_some_and(|rekey| rekey.finished_at.is_none());
    page.gauge(
        "claviger_rekey_running",
        "1 while rows move, or are about to, to a new data-encryption key.",
        flag(is_moving),
    );
    let (total, done, failed) =
        rekey.map_or((0, 0, 0), |rekey| (rekey.total, rekey.done.min(rekey.total), rekey.failed));
    page.gauges(
        "claviger_rekey_rows",
        "Rows of the last move to a new data-encryption key: counted at its start, moved, and not to be opened.",
        [("total", total), ("done", done), ("failed", failed)]
            .map(|(state, count)| (vec![("state", state)], count as f64)),
    );
}

fn stores(page: &mut Page, state: &AppState) {
    let progress = state.stores.migration().progress();
    page.gauge("claviger_stores_rows", "Stored rows, history included.", progress.rows as f64);
    page.gauge(
        "claviger_stores_migration_pending_rows",
        "Stored rows that are sealed under another version of the key than the primary.",
        progress.pending as f64,
    );
    page.gauge(
        "claviger_stores_migration_failed_rows",
        "Stored rows of the last round that can't be read and stay as they are.",
        progress.failed as f64,
    );
    page.gauge(
        "claviger_stores_migration_rate",
        "Stored rows a second that this node moves to the primary.",
        progress.rate,
    );
    page.gauge(
        "claviger_stores_migration_eta_seconds",
        "Time until no stored row is pending, at this rate; 0 = none is, or none moves.",
        progress.eta_seconds().unwrap_or(0.0),
    );
    page.counter(
        "claviger_stores_migrated_rows_total",
        "Stored rows that this node has moved to the primary.",
        progress.moved as f64,
    );
}

fn cluster(page: &mut Page, state: &AppState) {
    let figures = state.cluster.figures();
    page.gauge(
        "claviger_staleness_seconds",
        "Time since the database last confirmed the ring of this node.",
        state.ring.snapshot().confirmed().age().as_secs_f64(),
    );
    page.gauge(
        "claviger_staleness_max_seconds",
        "Staleness from which the node refuses work.",
        state.max_staleness.as_secs_f64(),
    );
    page.gauge(
        "claviger_clock_offset_seconds",
        "How far the database's clock, which decides, is ahead of the machine's.",
        state.cluster.clock_offset_ms() as f64 / 1e3,
    );
    page.gauge("claviger_database_up", "1 if the database answered last time.", flag(figures.database));
    page.gauge(
        "claviger_database_latency_seconds",
        "Time that the database took for its last answer.",
        figures.database_latency.as_secs_f64(),
    );
    page.gauge(
        "claviger_cluster_refreshes_waiting",
        "Requests that wait for word from the database.",
        figures.waiting as f64,
    );
    page.timings(
        "claviger_barrier_duration_seconds",
        "Time until every live node used a strong change, or the wait was given up.",
        [(Vec::new(), figures.barriers)],
    );
    page.counter(
        "claviger_barriers_lagging_total",
        "Strong changes that not every live node had acknowledged in time.",
        figures.barriers_lagging as f64,
    );
    let Some(up) = figures.redis else { return };
    page.gauge("claviger_redis_up", "1 while Redis answers.", flag(up));
    page.timings(
        "claviger_publication_duration_seconds",
        "Time until Redis had taken the hint of a change.",
        [(Vec::new(), figures.publications)],
    );
    let hints = [
        ("received", figures.hints_received),
        ("unfounded", figures.hints_unfounded),
        ("unreadable", figures.hints_unreadable),
        ("unsent", figures.hints_unsent),
    ];
    page.counters(
        "claviger_hints_total",
        "Hints over Redis: received; of them not true (forged, or of a rewound database); no hints at all; not written.",
        hints.map(|(kind, count)| (vec![("kind", kind)], count)),
    );
}
