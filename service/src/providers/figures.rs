//! What providers were asked, and what came of it, for whoever watches.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::call::CallError;

/// What a provider is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// New tokens for a refresh token.
    Refresh,
    /// Tokens for an authorization code.
    Exchange,
    /// To revoke a token.
    Revoke,
    /// What a token is.
    Introspect,
}

const CALLS: [(Call, &str); 4] = [
    (Call::Refresh, "refresh"),
    (Call::Exchange, "exchange"),
    (Call::Revoke, "revoke"),
    (Call::Introspect, "introspect"),
];

/// Counters of one provider.
#[derive(Default)]
pub(super) struct Counters {
    calls: [[AtomicU64; CallError::OUTCOMES.len()]; CALLS.len()],
    lost: AtomicU64,
    failing: AtomicBool,
}

/// Figures of one provider.
#[derive(Debug)]
pub struct ProviderFigures<'a> {
    /// Its name.
    pub name: &'a str,
    /// Questions by kind and outcome.
    pub calls: Vec<(&'static str, &'static str, u64)>,
    /// Tokens that it has given and that could not be kept.
    pub lost: u64,
}

impl Counters {
    /// Counts a question; `true` when it is the first to fail, or the first to succeed, after the other.
    pub(super) fn count(&self, call: Call, outcome: Option<CallError>) -> bool {
        let place = CALLS.iter().position(|(known, _)| *known == call);
        let counters = place.and_then(|place| self.calls.get(place));
        if let Some(counter) =
            counters.and_then(|counters| counters.get(outcome.map_or(0, CallError::outcome)))
        {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let fails = outcome.is_some_and(|error| !error.is_refusal());
        self.failing.swap(fails, Ordering::Relaxed) != fails
    }

    pub(super) fn lose(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn figures<'a>(&self, name: &'a str) -> ProviderFigures<'a> {
        let calls = CALLS.iter().zip(&self.calls).flat_map(|((_, call), counters)| {
            let each = CallError::OUTCOMES.iter().zip(counters);
            each.map(|(outcome, count)| (*call, *outcome, count.load(Ordering::Relaxed)))
        });
        ProviderFigures { name, calls: calls.collect(), lost: self.lost.load(Ordering::Relaxed) }
    }
}
