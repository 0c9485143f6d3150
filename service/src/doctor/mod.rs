//! Weaknesses of a deployment, told by its configuration and its files.
//!
//! A pure function: the layers of configuration and a way to look at files go in, findings come out. It goes on after a finding, so
//! that one run names everything. No finding holds a secret or a part of one.

mod database;
mod files;
mod finding;
mod issuers;
mod secrets;
#[cfg(test)]
mod tests;
mod words;

use std::{io, path::Path};

use claviger_config::{Survey, survey};

use crate::hardening;

pub use files::Files;
pub use finding::{Finding, Severity};
pub use issuers::{trusted, unreachable};

/// What is examined, file system aside.
#[derive(Debug, Default)]
pub struct Deployment<'a> {
    /// The configuration file, if one was named.
    pub config: Option<&'a Path>,
    /// Variables that start with `CLAVIGER_`.
    pub environment: Vec<(String, String)>,
    /// Names of those whose value is no text.
    pub broken: Vec<String>,
}

/// Everything that is wrong, errors first.
pub fn examine(deployment: &Deployment<'_>, files: &impl Files) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(deployment.broken.iter().map(|name| Finding::invalid(name, "is not UTF-8")));
    let survey = surveyed(deployment, files, &mut found);
    let mut examiner = Examiner { deployment, survey: &survey, files, found };
    examiner.secrets();
    examiner.settings();
    examiner.listener();
    examiner.audit();
    examiner.database();
    examiner.issuers();
    examiner.files();
    examiner.memory();
    let mut found = examiner.found;
    found.sort_by_key(|finding| finding.severity);
    found
}

fn surveyed(deployment: &Deployment<'_>, files: &impl Files, found: &mut Vec<Finding>) -> Survey {
    let text = deployment.config.map(|path| files.read(path)).transpose().unwrap_or_else(|error| {
        found.push(Finding::invalid(
            "--config",
            &format!("names a file that can't be read ({})", error.kind()),
        ));
        None
    });
    let read = |path: &Path| -> io::Result<String> { files.read(path) };
    survey(text.as_deref(), deployment.environment.iter().cloned(), read)
}

/// Goes through a deployment, one file a subject.
struct Examiner<'a, F> {
    deployment: &'a Deployment<'a>,
    survey: &'a Survey,
    files: &'a F,
    found: Vec<Finding>,
}

impl<F: Files> Examiner<'_, F> {
    /// What the configuration says of itself.
    fn settings(&mut self) {
        // Weak master secrets have been named line by line.
        let named = self.survey.layers.get("seal.master_key").map(|given| given.origin.as_str());
        let named = named.filter(|origin| self.found.iter().any(|finding| finding.setting == *origin));
        let problems = self.survey.problems.iter().filter(|problem| named != Some(&problem.setting));
        let problems: Vec<_> =
            problems.map(|problem| Finding::invalid(&problem.setting, &problem.rule)).collect();
        self.found.extend(problems);
    }

    /// P6 is given up where uses are only counted.
    fn audit(&mut self) {
        let level = self.survey.layers.get("audit.level");
        if let Some(given) = level.filter(|given| given.text.trim() == "control") {
            self.found.push(Finding::warning(
                "audit-not-full",
                &given.origin,
                "uses of keys are counted, not recorded; set it to full".to_owned(),
            ));
        }
    }

    /// Key material must not be written to a disk by the way.
    fn memory(&mut self) {
        let read = |path: &str| self.files.read(Path::new(path)).unwrap_or_default();
        // The first line is a heading.
        let has_swap = read("/proc/swaps").lines().nth(1).is_some();
        let is_locked = hardening::is_unlimited(&read("/proc/self/limits"))
            || hardening::has_capability(&read("/proc/self/status"));
        if has_swap && !is_locked {
            self.found.push(Finding::warning(
                "memory-not-locked",
                "RLIMIT_MEMLOCK",
                "keeps the service from locking its memory, and this machine has swap, where keys may be written; let it be unlimited, or turn swap off",
            ));
        }
    }

    fn listener(&mut self) {
        let outline = &self.survey.outline;
        if outline.internal_listen.is_some_and(|address| !address.ip().is_loopback()) {
            self.found.push(Finding::warning(
                "internal-listener-in-clear",
                "server.internal_listen",
                "is an address of the network, without TLS and without client certificates; let only the deployment's own network reach it",
            ));
        }
        // Without server.plain_http there is no start, which is among the mistakes.
        if outline.plain_http && !outline.tls && !outline.listen.ip().is_loopback() {
            self.found.push(Finding::error(
                "listen-without-tls",
                "server.plain_http",
                "lets credentials cross the network in clear, unless something before it speaks TLS; set tls.cert and tls.key",
            ));
        }
    }
}
