//! Who may read what.

use std::{
    io,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use super::{Examiner, Finding, database};
use crate::authorities;

/// The group and everybody else.
const OTHERS: u32 = 0o077;
/// Those of them who may write.
const OTHERS_WRITE: u32 = 0o022;

/// A way to look at files.
pub trait Files {
    /// Permission bits of a file or directory.
    ///
    /// # Errors
    /// It does not exist, or can't be looked at.
    fn mode(&self, path: &Path) -> io::Result<u32>;

    /// A file's text.
    ///
    /// # Errors
    /// It can't be read.
    fn read(&self, path: &Path) -> io::Result<String>;
}

impl<F: Files> Examiner<'_, F> {
    /// Where the database and what is generated lie.
    pub(super) fn folder(&self) -> &Path {
        &self.survey.outline.folder
    }

    pub(super) fn files(&mut self) {
        let survey = self.survey;
        for (_, given) in survey.layers.iter() {
            if let Some(path) = &given.file {
                self.private_file(&given.origin, path);
            }
        }
        if let Some(key) = survey.layers.get("tls.key") {
            self.private_file(&key.origin, Path::new(key.text.trim()));
        }
        self.authorities();
        let folder = self.folder().to_owned();
        if let Some(database) = &survey.outline.database {
            for suffix in ["", "-wal", "-shm"] {
                let mut path = database.as_os_str().to_owned();
                path.push(suffix);
                self.private_file("database.url", &PathBuf::from(path));
            }
        }
        self.private_file("seal.master_key", &folder.join("master.key"));
        let token = folder.join("bootstrap.token");
        self.private_file("bootstrap_token", &token);
        if self.files.mode(&token).is_ok() {
            self.found.push(Finding::warning(
                "bootstrap-token-left",
                "bootstrap_token",
                format!(
                    "still lies in {}; take it into your secret store and delete the file",
                    token.display()
                ),
            ));
        }
        self.private_directory("database.url", &folder);
        self.private_directory("audit.dir", &survey.outline.audit_dir);
        self.configuration_file();
    }

    /// Public, but without them the start stops.
    fn authorities(&mut self) {
        let Some(given) = self.survey.layers.get("tls.ca_file") else { return };
        let path = Path::new(given.text.trim());
        let rule = match self.files.read(path) {
            Ok(text) => authorities::judged(&text).err().map(str::to_owned),
            Err(error) => Some(format!("can't be read ({})", error.kind())),
        };
        if let Some(rule) = rule {
            let detail = format!("names {}, which {rule}", path.display());
            self.found.push(Finding::invalid(&given.origin, &detail));
        }
    }

    pub(super) fn private_file(&mut self, setting: &str, path: &Path) {
        self.private(setting, path, "0600");
    }

    fn private_directory(&mut self, setting: &str, path: &Path) {
        // Without a name it is wherever the process runs, which is not the service's own.
        if !path.as_os_str().is_empty() {
            self.private(setting, path, "0700");
        }
    }

    fn private(&mut self, setting: &str, path: &Path, wanted: &str) {
        match self.files.mode(path) {
            Ok(mode) if mode & OTHERS != 0 => {
                let (mode, path) = (mode & 0o7777, path.display());
                self.found.push(Finding::error(
                    "loose-file-mode",
                    setting,
                    format!("is open to others: {path} has mode {mode:04o}; run chmod {wanted} on it"),
                ));
            }
            Ok(_) => {}
            Err(error) => self.not_examined(setting, path, &error),
        }
    }

    /// A text that lies where the service would look for it; `None` when nothing does.
    pub(super) fn lying(&mut self, setting: &str, path: &Path) -> Option<Zeroizing<String>> {
        let text = self.files.read(path).map(Zeroizing::new);
        text.map_err(|error| self.not_examined(setting, path, &error)).ok()
    }

    /// What is there and can't be looked at may be weak: silence would say that it is not.
    fn not_examined(&mut self, setting: &str, path: &Path, error: &io::Error) {
        if error.kind() == io::ErrorKind::NotFound {
            return;
        }
        let (path, kind) = (path.display(), error.kind());
        let detail = format!("was not examined: {path} can't be read ({kind}); run as the user that serves");
        let finding = Finding::warning("not-examined", setting, detail);
        if !self.found.contains(&finding) {
            self.found.push(finding);
        }
    }

    /// A configuration file may be read by others, unless it holds a secret; nobody else may write it.
    fn configuration_file(&mut self) {
        let Some(path) = self.deployment.config else { return };
        let from_file = |setting| {
            let given = self.survey.layers.get(setting);
            given.filter(|given| !given.origin.starts_with("CLAVIGER_"))
        };
        let password = from_file("database.url").is_some_and(|url| database::holds_password(&url.text));
        let secret =
            password || from_file("seal.master_key").is_some() || from_file("bootstrap_token").is_some();
        let forbidden = if secret { OTHERS } else { OTHERS_WRITE };
        let loose = self.files.mode(path).ok().filter(|mode| mode & forbidden != 0);
        if let Some(mode) = loose {
            let why = if secret { "it holds a secret" } else { "others may change it" };
            let (mode, path) = (mode & 0o7777, path.display());
            self.found.push(Finding::error(
                "loose-file-mode",
                "--config",
                format!("names {path}, which has mode {mode:04o} and {why}; run chmod 0600 on it"),
            ));
        }
    }
}
