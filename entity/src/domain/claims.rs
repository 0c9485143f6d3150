//! What tokens of a key may and must say.

use serde::{Deserialize, Serialize};

use super::duration::HumanDuration;

/// Claim rules of a token key. Absent members take their defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimRules {
    /// Issuers accepted besides our own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issuers: Vec<String>,
    /// Audiences that may be issued; empty = any but the service's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audiences: Vec<String>,
    /// Longest lifetime that may be issued; default 24 h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_ttl: Option<HumanDuration>,
    /// Claims that must be there, on issue and on verify.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub required: Vec<String>,
    /// Accept tokens without `exp` (from before a migration).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_missing_exp: bool,
    /// Try this key for tokens without `kid`, when it is the default key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kid_fallback: bool,
}

impl ClaimRules {
    /// Longest lifetime when none is set.
    pub const DEFAULT_MAX_TTL: HumanDuration = HumanDuration::from_secs(24 * 3600);

    /// The longest lifetime in force.
    #[must_use]
    pub fn max_ttl(&self) -> HumanDuration {
        self.max_ttl.unwrap_or(Self::DEFAULT_MAX_TTL)
    }
}
