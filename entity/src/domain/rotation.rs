//! Rotation policy of a key, as written by callers and stored with the key.

use serde::{Deserialize, Serialize};

use super::duration::HumanDuration;

/// When a key rotates. Absent members take the defaults of the key's tier and type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotationPolicy {
    /// Period from one activation to the next. Not together with `cron`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<HumanDuration>,
    /// Five fields, UTC. Not together with `every`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "0 3 1 * *")]
    pub cron: Option<String>,
    /// Least time between publication of a version and its first signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead: Option<HumanDuration>,
    /// How long a replaced version verifies, from its deactivation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<HumanDuration>,
}
