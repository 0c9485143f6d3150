//! What was not valid, and why.

use std::sync::atomic::{AtomicU64, Ordering};

use super::page::Page;

/// What was to be verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// A token.
    Token,
    /// A raw signature or code.
    Signature,
}

/// In the order of the counters.
const KINDS: [&str; 2] = ["token", "signature"];
/// Codes of verdicts; the last stands for whatever is not among them.
const REASONS: [&str; 8] = [
    "token_expired",
    "token_malformed",
    "token_revoked",
    "signature_invalid",
    "claims_invalid",
    "key_not_found",
    "key_not_usable",
    "other",
];

/// A counter a kind and reason.
#[derive(Default)]
pub(super) struct Verifications([[AtomicU64; REASONS.len()]; KINDS.len()]);

impl Verifications {
    pub(super) fn count(&self, what: Verification, reason: &str, times: usize) {
        let at = REASONS.iter().position(|known| *known == reason).unwrap_or(REASONS.len() - 1);
        if let Some(counter) = self.0.get(what as usize).and_then(|counters| counters.get(at)) {
            counter.fetch_add(u64::try_from(times).unwrap_or(0), Ordering::Relaxed);
        }
    }

    /// Zeros too, so that a rate has a start.
    pub(super) fn write(&self, page: &mut Page) {
        let rows = KINDS.iter().zip(&self.0);
        let counters = rows.flat_map(|(kind, counters)| {
            REASONS.iter().zip(counters).map(move |(reason, counter)| {
                (vec![("kind", *kind), ("reason", *reason)], counter.load(Ordering::Relaxed))
            })
        });
        let help = "Tokens, signatures and codes that were not valid.";
        page.counters("claviger_verification_failures_total", help, counters);
    }
}
