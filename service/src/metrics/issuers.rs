//! Issuers elsewhere, by their names in the configuration.

use super::{page::Page, scrape::flag};
use crate::{auth::IssuerFigures, http::state::AppState};

pub(super) fn write(page: &mut Page, state: &AppState) {
    let all: Vec<IssuerFigures<'_>> = state.issuers.figures().collect();
    let lookups = all.iter().flat_map(|issuer| {
        let each = issuer.lookups.iter();
        each.map(|(outcome, count)| (vec![("issuer", issuer.name), ("outcome", *outcome)], *count))
    });
    page.counters(
        "claviger_issuer_lookups_total",
        "Times an issuer was asked for its keys, by what came of it.",
        lookups,
    );
    page.counters(
        "claviger_issuer_lookups_spared_total",
        "Unknown keys for which an issuer was not asked, since it had been a moment before.",
        all.iter().map(|issuer| (vec![("issuer", issuer.name)], issuer.spared)),
    );
    page.gauges(
        "claviger_issuer_up",
        "1 unless the last look-up of the keys of an issuer failed.",
        all.iter().map(|issuer| (vec![("issuer", issuer.name)], flag(issuer.is_up))),
    );
    page.gauges(
        "claviger_issuer_keys",
        "Keys of an issuer that are in use.",
        all.iter().map(|issuer| (vec![("issuer", issuer.name)], issuer.keys as f64)),
    );
    page.gauges(
        "claviger_issuer_keys_age_seconds",
        "Time since the keys in use were asked for.",
        all.iter().filter_map(|issuer| Some((vec![("issuer", issuer.name)], issuer.age?.as_secs_f64()))),
    );
}
