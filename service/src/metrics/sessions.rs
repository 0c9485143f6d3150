//! Who is connected, and who was turned away at the doors.

use super::page::Page;
use crate::http::state::AppState;

pub(super) fn write(page: &mut Page, state: &AppState) {
    page.gauge("claviger_sessions_open", "WebSocket sessions, known or not.", state.sessions.len() as f64);
    let waiting = state.sessions.waiting_bytes();
    page.gauge(
        "claviger_sessions_waiting_bytes",
        "What waits for clients of WebSocket sessions.",
        waiting as f64,
    );
    page.counter(
        "claviger_attempts_refused_total",
        "Wrong credentials that were refused at once, since there had been too many.",
        state.limiter.refused() as f64,
    );
    let (open, refused) = state.connections.figures();
    page.gauge("claviger_connections_open", "Connections of the first listener.", open as f64);
    page.counter(
        "claviger_connections_refused_total",
        "Connections that were closed at once, since there were too many.",
        refused as f64,
    );
    page.gauge(
        "claviger_refusals_waiting",
        "Strangers who wait for their refusal, since there are many of them.",
        state.patience.waiting() as f64,
    );
    let refused: Vec<_> = state.quotas.refused().collect();
    page.counters(
        "claviger_quota_refused_total",
        "Requests and attempts that were refused, since a quota was used up.",
        refused.iter().map(|(class, count)| (vec![("quota", class.as_str())], *count)),
    );
    page.counter(
        "claviger_forwarding_headers_ignored_total",
        "Requests with X-Forwarded-For from somebody who is no trusted proxy.",
        state.addresses.ignored() as f64,
    );
}
