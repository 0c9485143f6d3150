//! Providers of tokens, by their names in the configuration.

use super::page::Page;
use crate::{http::state::AppState, providers::ProviderFigures};

pub(super) fn write(page: &mut Page, state: &AppState) {
    let all: Vec<ProviderFigures<'_>> = state.providers.figures().collect();
    let calls = all.iter().flat_map(|provider| {
        provider.calls.iter().map(|(call, outcome, count)| {
            (vec![("provider", provider.name), ("call", *call), ("outcome", *outcome)], *count)
        })
    });
    page.counters(
        "claviger_provider_calls_total",
        "Questions to providers of tokens, by what was asked and what came of it.",
        calls,
    );
    page.counters(
        "claviger_provider_tokens_lost_total",
        "New tokens that a provider has given and that could not be stored.",
        all.iter().map(|provider| (vec![("provider", provider.name)], provider.lost)),
    );
    page.gauge(
        "claviger_provider_refreshes_running",
        "Tokens that this node refreshes, or waits for another node to refresh.",
        state.providers.refreshing() as f64,
    );
}
