//! Who is told of what happens.

use super::page::Page;
use crate::http::state::AppState;

pub(super) fn write(page: &mut Page, state: &AppState) {
    let figures = state.events.figures();
    page.gauge(
        "claviger_event_subscribers",
        "Subscribers of events on this node.",
        figures.subscribers as f64,
    );
    page.gauge(
        "claviger_sessions_present",
        "Sessions of this node that others know of.",
        figures.present as f64,
    );
    page.counter(
        "claviger_events_told_total",
        "Events of the change log that this node has told its subscribers, each counted once.",
        figures.told as f64,
    );
    page.counters(
        "claviger_events_sent_total",
        "Events that subscribers were handed, by name.",
        figures.sent.into_iter().map(|(event, count)| (vec![("event", event)], count)),
    );
    page.counter(
        "claviger_event_subscribers_lagged_total",
        "Times that a subscriber fell so far behind that it had to read the change log by itself.",
        figures.lagged as f64,
    );
    page.counter("claviger_event_replays_total", "Subscriptions from an epoch on.", figures.replays as f64);
    page.counter(
        "claviger_event_replay_reads_total",
        "Readings of the change log for one subscriber.",
        figures.readings as f64,
    );
    page.counter(
        "claviger_event_lines_read_total",
        "Lines of the change log that were read to be told.",
        figures.lines as f64,
    );
    page.counter(
        "claviger_event_syncs_total",
        "Subscribers that got the whole ring, since what they had missed could not be told any more.",
        figures.syncs as f64,
    );
    page.counter(
        "claviger_change_log_pruned_lines_total",
        "Lines of the change log that this node has removed, since they are too old to be asked for.",
        figures.pruned as f64,
    );
}
