//! `claviger backup`: everything into one encrypted file.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use claviger_actors::{
    audit::event_of,
    backup::{self, BackupError, Lock, Made},
    clock::{Clock as _, SystemClock},
    seal::MasterKeys,
    store::Database,
};
use claviger_config::Settings;
use claviger_crypto::secret::SecretBytes;
use serde_json::json;

use super::{
    configuration,
    failure::Failure,
    input, output,
    progress::{Progress, Unit},
};
use crate::{
    backup::Draft,
    startup::{masters, place},
};

/// Writes everything into one encrypted file, as it is at one epoch. Works on the configured database, which may be served meanwhile.
#[derive(Debug, Args)]
pub(super) struct Backup {
    #[command(flatten)]
    file: configuration::File,
    /// The file; `-` is standard output. Only its owner may read it.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    lock: LockArguments,
    /// Replace a file that is there.
    #[arg(long)]
    force: bool,
}

/// To whom it is encrypted.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct LockArguments {
    /// File with the passphrase.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// An age public key (age1…); may be repeated.
    #[arg(long, value_name = "KEY")]
    recipient: Vec<String>,
}

impl LockArguments {
    fn lock(&self) -> Result<Lock, Failure> {
        let local = |error: BackupError| Failure::Local(error.to_string());
        match &self.passphrase_file {
            Some(path) => Lock::passphrase(passphrase(path)?).map_err(local),
            None => Lock::recipients(self.recipient.iter().map(String::as_str)).map_err(local),
        }
    }
}

/// The passphrase in a file.
pub(super) fn passphrase(path: &Path) -> Result<SecretBytes, Failure> {
    let text = input::text_file("--passphrase-file", path)?;
    Ok(SecretBytes::new(text.as_bytes().to_vec()))
}

impl Backup {
    /// Runs the command.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let settings = self.file.settings()?;
        let lock = self.lock.lock()?;
        let is_stream = self.output.as_os_str() == "-";
        if !is_stream && !self.force && self.output.exists() {
            return Err(Failure::Local("--output names a file that exists; --force replaces it".to_owned()));
        }
        let given = masters(&settings, settings.database.folder());
        let given = given.map_err(|error| Failure::Local(format!("seal.master_key: {error}")))?.keys;
        let database = Database::beside(place(&settings)).await;
        let database = database.map_err(|error| Failure::Local(format!("database.url: {error}")))?;
        let made = if is_stream {
            made(&settings, (&database, &given), &lock, &mut async |bytes: Vec<u8>| {
                let mut output = io::stdout().lock();
                output.write_all(&bytes).and_then(|()| output.flush())
            })
            .await?
        } else {
            let mut draft =
                Draft::new(&self.output).map_err(|error| Failure::Local(format!("--output: {error}")))?;
            let made =
                made(&settings, (&database, &given), &lock, &mut async |bytes: Vec<u8>| draft.write(&bytes))
                    .await?;
            draft.put(self.force).map_err(|error| Failure::Local(format!("--output: {error}")))?;
            made
        };
        database.close().await;
        let line = json!({
            "event": "backup_created",
            "file": (!is_stream).then_some(&self.output),
            "deployment": made.header.deployment,
            "epoch": made.header.epoch,
            "made_at": made.header.made_at,
            "rows": made.rows,
            "bytes": made.bytes,
            "damaged_rows": made.trailer.damaged.values().sum::<u64>(),
        });
        if is_stream {
            // Standard output is the backup.
            let _closed = writeln!(io::stderr(), "{line}");
        } else {
            output::event(&line)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn made<W: AsyncFnMut(Vec<u8>) -> io::Result<()>>(
    settings: &Settings,
    (database, given): (&Database, &MasterKeys),
    lock: &Lock,
    outlet: &mut W,
) -> Result<Made, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Local(format!("there is no backup: {error}"));
    let now = SystemClock.now();
    let keychain = database.open_to_read(given).await.map_err(|error| failed(&error))?;
    // First it is on record, then somebody has it.
    let record = json!({
        "ts": now,
        "event": event_of("backup.create"),
        "operation": "backup.create",
        "actor": "operator",
        "node": settings.node,
        "outcome": "ok",
    });
    database.record_by_hand(record.to_string()).await.map_err(|error| failed(&error))?;
    let mut progress = Progress::of("backed up", Unit::Rows);
    let how = (lock, env!("CARGO_PKG_VERSION"), now);
    let made = backup::make((database, &keychain), how, outlet, &mut |table, done, total| {
        progress.show(Some(table), done, total);
    })
    .await;
    progress.end();
    made.map_err(|error| failed(&error))
}
