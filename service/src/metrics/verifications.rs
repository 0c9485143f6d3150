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

/// Those that say that no key of ours has made it, or none that may be used: what holders of good tokens meet when something is wrong here.
const FOREIGN: [&str; 3] = ["signature_invalid", "key_not_found", "key_not_usable"];

/// A counter a kind, and one a kind and reason.
#[derive(Default)]
pub(super) struct Verifications {
    all: [AtomicU64; KINDS.len()],
    failed: [[AtomicU64; REASONS.len()]; KINDS.len()],
}

impl Verifications {
    /// So many were verified, whatever came of it.
    pub(super) fn verified(&self, what: Verification, times: usize) {
        if let Some(counter) = self.all.get(what as usize) {
            counter.fetch_add(u64::try_from(times).unwrap_or(0), Ordering::Relaxed);
        }
    }

    /// All that were verified, and those of them that are foreign.
    pub(super) fn read(&self) -> (u64, u64) {
        let all = self.all.iter().map(|counter| counter.load(Ordering::Relaxed)).sum();
        let foreign = self.failed.iter().flat_map(|counters| REASONS.iter().zip(counters));
        let foreign = foreign.filter(|(reason, _)| FOREIGN.contains(*reason));
        (all, foreign.map(|(_, counter)| counter.load(Ordering::Relaxed)).sum())
    }

    pub(super) fn count(&self, what: Verification, reason: &str, times: usize) {
        let at = REASONS.iter().position(|known| *known == reason).unwrap_or(REASONS.len() - 1);
        if let Some(counter) = self.failed.get(what as usize).and_then(|counters| counters.get(at)) {
            counter.fetch_add(u64::try_from(times).unwrap_or(0), Ordering::Relaxed);
        }
    }

    /// Zeros too, so that a rate has a start.
    pub(super) fn write(&self, page: &mut Page) {
        let all = KINDS.iter().zip(&self.all);
        let all = all.map(|(kind, counter)| (vec![("kind", *kind)], counter.load(Ordering::Relaxed)));
        let help = "Tokens, signatures and codes that were verified, valid or not.";
        page.counters("claviger_verifications_total", help, all);
        let rows = KINDS.iter().zip(&self.failed);
        let counters = rows.flat_map(|(kind, counters)| {
            REASONS.iter().zip(counters).map(move |(reason, counter)| {
                (vec![("kind", *kind), ("reason", *reason)], counter.load(Ordering::Relaxed))
            })
        });
        let help = "Tokens, signatures and codes that were not valid.";
        page.counters("claviger_verification_failures_total", help, counters);
    }
}
