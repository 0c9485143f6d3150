//! What was found.

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// To be put right before anybody relies on the service.
    Error,
    /// To be put right.
    Warning,
}

/// One weakness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Stable for programs.
    pub code: &'static str,
    /// The setting, variable or option that it is about.
    pub setting: String,
    /// What is wrong and what to do. Never a secret.
    pub detail: String,
}

impl Finding {
    pub(super) fn error(code: &'static str, setting: &str, detail: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code, setting: setting.to_owned(), detail: detail.into() }
    }

    pub(super) fn warning(code: &'static str, setting: &str, detail: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, setting, detail) }
    }

    /// The configuration's own complaint.
    pub(super) fn invalid(setting: &str, rule: &str) -> Self {
        Self::error("invalid-setting", setting, rule)
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}: {}: {} {}", self.code, self.setting, self.detail)
    }
}
