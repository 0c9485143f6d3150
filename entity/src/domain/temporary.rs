//! Keys that end by themselves.

use serde::{Deserialize, Serialize};

use super::duration::HumanDuration;

/// When a temporary key ends, whichever comes first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TemporaryPolicy {
    /// How often it may sign or encrypt, and how often it may verify or decrypt.
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub uses: u32,
    /// How long it lives, from creation; default 7 d.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<HumanDuration>,
    /// The session it belongs to, for whoever looks at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 255)]
    pub session: Option<String>,
}

const fn one() -> u32 {
    1
}

impl Default for TemporaryPolicy {
    fn default() -> Self {
        Self { uses: 1, expires_in: None, session: None }
    }
}
