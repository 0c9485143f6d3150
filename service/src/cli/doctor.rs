//! `claviger doctor`: the shell around [`crate::doctor`].

use std::{fs, io, os::unix::fs::PermissionsExt as _, path::Path, process::ExitCode};

use clap::Args;
use serde_json::json;

use super::{
    configuration::{self, File},
    failure::Failure,
    output,
};
use crate::{
    auth::reach,
    doctor::{Deployment, Files, Finding, Severity, examine, trusted, unreachable},
    hardening,
};

/// Looks for weaknesses in the configuration and in the files it names.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    file: File,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
    /// Exit with 1 for warnings, too.
    #[arg(long)]
    strict: bool,
}

impl Doctor {
    /// Prints the findings; exit code 1 if one of them is an error.
    ///
    /// # Errors
    /// Standard output is gone.
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        hardening::harden();
        let (environment, broken) = configuration::environment();
        let deployment = Deployment { config: self.file.config.as_deref(), environment, broken };
        let mut findings = examine(&deployment, &Disk);
        findings.extend(away(&deployment).await);
        let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
        let warnings = findings.len() - errors;
        if self.json {
            output::json(&json!({ "errors": errors, "warnings": warnings, "findings": findings }))?;
        } else if findings.is_empty() {
            output::line("nothing found")?;
        } else {
            for finding in &findings {
                output::line(&finding.to_string())?;
            }
        }
        let failed = errors > 0 || self.strict && warnings > 0;
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// Issuers that give no keys, asked one after the other.
async fn away(deployment: &Deployment<'_>) -> Vec<Finding> {
    let (issuers, ca_file) = trusted(deployment, &Disk);
    let mut found = Vec::new();
    for issuer in &issuers {
        if let Err(why) = reach(issuer, ca_file.as_deref()).await {
            found.push(unreachable(issuer, &why));
        }
    }
    found
}

/// The file system of this machine.
struct Disk;

impl Files for Disk {
    fn mode(&self, path: &Path) -> io::Result<u32> {
        fs::metadata(path).map(|metadata| metadata.permissions().mode())
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        fs::read_to_string(path)
    }
}
