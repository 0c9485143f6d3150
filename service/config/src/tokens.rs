//! How long tokens live, and how many may be revoked.

use claviger_entity::HumanDuration;

use crate::settings::{Judge, SECONDS, bounded};

/// How long tokens live, unless a request or the claims of a key say otherwise; and how many may be revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenTimes {
    /// Access tokens.
    pub access: HumanDuration,
    /// Refresh tokens.
    pub refresh: HumanDuration,
    /// How long the second use of a refresh token gets the same pair instead of ending the family.
    pub reuse_leeway: HumanDuration,
    /// Live revocations that a node holds at most.
    pub max_revocations: usize,
}

const REVOCATIONS: &str = "must be a whole number from 1000 to 50000000";
/// Longest leeway: what a client that tries again needs.
const LEEWAY_MAX: HumanDuration = HumanDuration::from_secs(300);

impl Judge<'_> {
    pub(crate) fn token_times(&mut self) -> TokenTimes {
        let some = |text: &str| text.parse::<HumanDuration>().ok().filter(|time| time.as_secs() > 0);
        let leeway = |text: &str| text.parse::<HumanDuration>().ok().filter(|time| *time <= LEEWAY_MAX);
        let rule = "must be a duration such as \"10s\", or \"0s\", at most 5 minutes";
        TokenTimes {
            access: self.parse("tokens.access_ttl", SECONDS, some).unwrap_or(HumanDuration::from_secs(3_600)),
            refresh: self.parse("tokens.refresh_ttl", SECONDS, some).unwrap_or(HumanDuration::from_days(7)),
            reuse_leeway: self
                .parse("tokens.reuse_leeway", rule, leeway)
                .unwrap_or(HumanDuration::from_secs(0)),
            max_revocations: self
                .parse("tokens.max_revocations", REVOCATIONS, |text| bounded(text, 1_000, 50_000_000))
                .unwrap_or(5_000_000),
        }
    }
}
