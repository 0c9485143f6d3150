//! Configuration of the commands that work on a node's own data.

use std::path::{Path, PathBuf};

use clap::Args;
use claviger_config::Settings;

use super::failure::Failure;

/// Where settings come from, the environment aside.
#[derive(Debug, Clone, Args)]
pub(super) struct File {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

/// Variables of ours; a name in place of a value that is not UTF-8.
pub(super) type Variables = (Vec<(String, String)>, Vec<String>);

impl File {
    /// The settings of file and environment.
    ///
    /// # Errors
    /// The first one that is not right.
    pub(super) fn settings(&self) -> Result<Settings, Failure> {
        let file = self.read().map_err(|error| Failure::file("--config", &error))?;
        let (variables, broken) = environment();
        if let Some(name) = broken.first() {
            return Err(Failure::Local(format!("{name} is not UTF-8")));
        }
        Settings::load(file.as_deref(), variables, |path: &Path| std::fs::read_to_string(path))
            .map_err(|error| Failure::Local(error.to_string()))
    }

    /// The text of the file, if one was named.
    pub(super) fn read(&self) -> std::io::Result<Option<String>> {
        self.config.as_deref().map(std::fs::read_to_string).transpose()
    }
}

/// The variables that start with `CLAVIGER_`.
pub(super) fn environment() -> Variables {
    let (mut variables, mut broken) = (Vec::new(), Vec::new());
    for (name, value) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CLAVIGER_") {
            match value.into_string() {
                Ok(value) => variables.push((name.into_owned(), value)),
                Err(_) => broken.push(name.into_owned()),
            }
        }
    }
    (variables, broken)
}
