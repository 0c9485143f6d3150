//! Bad configuration.

/// Names a setting and the rule that it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} {rule}")]
pub struct ConfigError {
    /// The setting as written: an environment variable or `section.key`.
    pub setting: String,
    /// What is wrong and what to do.
    pub rule: String,
}

impl ConfigError {
    pub(crate) fn new(setting: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { setting: setting.into(), rule: rule.into() }
    }
}
