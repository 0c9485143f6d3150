//! Alerts, as this node has read them last.

use super::page::Page;
use crate::http::state::AppState;

pub(super) fn write(page: &mut Page, state: &AppState) {
    let open = state.alerts.open().into_iter().map(|(rule, severity, count)| {
        (vec![("rule", rule.as_str()), ("severity", severity.as_str())], count as f64)
    });
    let help = "Alerts of the deployment that are open; the same on every node.";
    page.gauges("claviger_alerts_open", help, open);
    let told = state.alerts.delivery_figures();
    let told = told.iter().map(|(channel, outcome, count)| {
        (vec![("channel", channel.as_str()), ("outcome", *outcome)], *count)
    });
    let help = "What came of telling people on this node: done, failed (tried again), dead (given up), dropped, silenced.";
    page.counters("claviger_alert_deliveries_total", help, told);
}
