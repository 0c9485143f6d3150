//! Issuers elsewhere: whom they may name, and whether they answer.

use std::path::PathBuf;

use claviger_config::{SubjectPattern, TrustedIssuer};

use super::{Deployment, Examiner, Files, Finding, surveyed};

impl<F: Files> Examiner<'_, F> {
    /// Whoever the issuer names has roles.
    pub(super) fn issuers(&mut self) {
        let all =
            |pattern: &SubjectPattern| matches!(pattern, SubjectPattern::Below(prefix) if prefix.is_empty());
        for issuer in &self.survey.outline.issuers {
            if issuer.roles.iter().any(|(pattern, _)| all(pattern)) {
                let detail = "gives roles to every subject that the issuer names; narrow the pattern *";
                self.found.push(Finding::warning("issuer-of-everybody", &setting(issuer), detail));
            }
        }
    }
}

/// The issuers that would be trusted, and the authorities that would be believed when they are asked.
pub fn trusted(deployment: &Deployment<'_>, files: &impl Files) -> (Vec<TrustedIssuer>, Option<PathBuf>) {
    let outline = surveyed(deployment, files, &mut Vec::new()).outline;
    (outline.issuers, outline.ca_file)
}

/// The issuer gave no keys.
#[must_use]
pub fn unreachable(issuer: &TrustedIssuer, why: &str) -> Finding {
    let detail = format!("can't be asked for its keys from here: {why}");
    Finding::warning("issuer-without-keys", &setting(issuer), detail)
}

fn setting(issuer: &TrustedIssuer) -> String {
    format!("issuers.{}", issuer.name)
}
