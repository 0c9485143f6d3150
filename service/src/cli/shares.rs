//! `claviger seal split` and `claviger seal combine`: a master key that no single person holds.
//!
//! They work on the master key itself and on no route: whoever may call a node must not get at it.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use claviger_actors::seal::shares;
use claviger_config::Settings;
use claviger_crypto::secret::SecretBytes;
use serde_json::json;
use zeroize::Zeroizing;

use super::{configuration::File, failure::Failure, input, output};

/// Divides the newest configured master key into shares, of which any so many give it. Each goes on a line of standard output, or into a file of
/// its own.
#[derive(Debug, Args)]
pub(super) struct Split {
    #[command(flatten)]
    file: File,
    /// How many shares.
    #[arg(long, value_name = "NUMBER")]
    shares: u8,
    /// How many of them give the master key.
    #[arg(long, value_name = "NUMBER")]
    threshold: u8,
    /// Write each share to a file of its own in this folder, `share-1.txt` and so on, which must not be there yet.
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Puts the master key together from shares, one a line, and writes it to a file.
#[derive(Debug, Args)]
pub(super) struct Combine {
    /// File with shares; may be repeated. Standard input unless given.
    #[arg(long = "share-file", value_name = "FILE")]
    share_files: Vec<PathBuf>,
    /// The file, which must not be there yet; only its owner may read it.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

impl Split {
    /// Runs the command.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let settings = self.file.settings()?;
        let secrets = secrets(&settings)?;
        let newest =
            secrets.first().ok_or_else(|| Failure::Local("seal.master_key: there is none".to_owned()))?;
        let made = shares::split(newest, self.shares, self.threshold);
        let made = made.map_err(|error| Failure::Local(error.to_string()))?;
        let Some(folder) = &self.directory else {
            for share in &made {
                output::bytes(share.as_bytes())?;
                output::bytes(b"\n")?;
            }
            return Ok(ExitCode::SUCCESS);
        };
        let at = |error: io::Error| Failure::Local(format!("--directory: {error}"));
        crate::files::private_directory(folder).map_err(at)?;
        for (place, share) in made.iter().enumerate() {
            write(&folder.join(format!("share-{}.txt", place + 1)), share.as_bytes()).map_err(at)?;
        }
        output::event(
            &json!({ "event": "master_divided", "shares": self.shares, "threshold": self.threshold, "directory": folder }),
        )?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Combine {
    /// Runs the command.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let mut texts: Vec<Zeroizing<String>> = Vec::new();
        for path in &self.share_files {
            texts.push(input::text_file("--share-file", path)?);
        }
        if texts.is_empty() {
            texts.push(input::text_file("standard input", Path::new("-"))?);
        }
        let lines = texts.iter().flat_map(|text| text.lines()).map(str::trim).filter(|line| !line.is_empty());
        let secret = shares::combine(lines).map_err(|error| Failure::Local(error.to_string()))?;
        write(&self.output, secret.expose()).map_err(|error| Failure::Local(format!("--output: {error}")))?;
        output::event(&json!({ "event": "master_combined", "file": self.output }))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The configured masters, newest first. None is made here.
///
/// # Errors
/// There is none.
pub(super) fn secrets(settings: &Settings) -> Result<Vec<SecretBytes>, Failure> {
    if let Some(masters) = &settings.masters {
        return Ok(masters.as_slice().to_vec());
    }
    let path = settings.database.folder().join("master.key");
    let text = std::fs::read(&path).map(Zeroizing::new).map_err(|error| {
        let (path, why) = (path.display(), error.kind());
        Failure::Local(format!("seal.master_key: give the master key, or put it in {path} ({why})"))
    })?;
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    Ok(lines.map(|line| SecretBytes::new(line.to_vec())).collect())
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content).and_then(|()| file.write_all(b"\n")).and_then(|()| file.sync_all())
}
