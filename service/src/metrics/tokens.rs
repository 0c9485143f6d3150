//! Tokens after their issue.

use super::page::Page;
use crate::http::state::AppState;

pub(super) fn write(page: &mut Page, state: &AppState) {
    let figures = state.tokens.figures();
    page.gauge("claviger_revocations_live", "Revocations that this node knows.", figures.live as f64);
    page.counter(
        "claviger_revocations_total",
        "Revocations that this node has made.",
        figures.revoked as f64,
    );
    page.counter(
        "claviger_revoked_tokens_refused_total",
        "Tokens that were refused because they are revoked.",
        figures.refused as f64,
    );
    page.counter(
        "claviger_revocations_damaged_total",
        "Revocations that were found damaged in the database and are not in force.",
        figures.damaged as f64,
    );
    page.timings(
        "claviger_revocation_lag_seconds",
        "Time until a revocation of another node was known here.",
        [(Vec::new(), figures.lag)],
    );
    let refreshes = figures.refreshes.into_iter();
    page.counters(
        "claviger_token_refreshes_total",
        "Refresh tokens that were presented, by what became of them.",
        refreshes.map(|(outcome, count)| (vec![("outcome", outcome)], count)),
    );
}
