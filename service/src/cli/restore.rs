//! `claviger restore`: a backup into an empty database, and the release of what was restored.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::{Args, Subcommand};
use claviger_actors::{
    backup::{self, BackupError, Judged, Opening, Written, replay::Replay},
    clock::{Clock as _, ClusterClock, SystemClock},
    keyring::boot::{self, Completed},
    masters::GivenMasters,
    seal::MasterKeys,
    store::Database,
};
use claviger_config::Settings;
use serde_json::{Value, json};

use super::{
    backup::passphrase,
    client::Client,
    configuration,
    failure::Failure,
    input, output,
    progress::{Progress, Unit},
    shares::secrets,
    target::Target,
};
use crate::{
    files,
    lock::DatabaseLock,
    startup::{default_keys, identity, place},
};

/// Writes a backup into the configured database, which must be empty and not served. The deployment starts held back: it verifies and decrypts,
/// and makes nothing new until `claviger restore release`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Restore {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    given: Given,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Let a deployment that was restored serve as usual.
    Release(Release),
}

#[derive(Debug, Args)]
struct Release {
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
struct Given {
    #[command(flatten)]
    file: configuration::File,
    /// The backup.
    #[arg(long, value_name = "FILE", required = true)]
    input: Option<PathBuf>,
    #[command(flatten)]
    opening: OpeningArguments,
    /// Folder with the audit log of a node, which may know of revocations and compromises after the backup; may be repeated.
    #[arg(long, value_name = "DIR")]
    audit_dir: Vec<PathBuf>,
    /// Restore rows that were changed outside the service before the backup was made, too.
    #[arg(long)]
    with_damaged: bool,
    /// Highest incarnation that there has been, where no audit log says so.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    above_incarnation: u64,
    /// Only look whether the backup is whole and opens with the master key.
    #[arg(long)]
    check: bool,
    /// Put on record at a server of its deployment that it was tested, for the report.
    #[arg(long, requires = "check")]
    record: bool,
    #[command(flatten)]
    target: Target,
}

/// What opens it.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct OpeningArguments {
    /// File with the passphrase.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// File with the age secret key (AGE-SECRET-KEY-1…).
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
}

impl OpeningArguments {
    fn opening(&self) -> Result<Opening, Failure> {
        match (&self.passphrase_file, &self.identity) {
            (Some(path), _) => Ok(Opening::Passphrase(passphrase(path)?)),
            (None, Some(path)) => {
                let text = input::text_file("--identity", path)?;
                Opening::identities(&text).map_err(|error| Failure::Local(format!("--identity: {error}")))
            }
            (None, None) => Err(Failure::Local("a backup needs --passphrase-file or --identity".to_owned())),
        }
    }
}

impl Restore {
    /// Runs the command.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        match self.command {
            Some(Command::Release(release)) => {
                let client = Client::authenticated(&release.target)?;
                output::json(&client.post(&["v1", "restore", "release"], &json!({})).await?)?;
            }
            None => self.given.run().await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Given {
    async fn run(&self) -> Result<(), Failure> {
        let settings = self.file.settings()?;
        let path = self.input.as_deref().unwrap_or(Path::new(""));
        let opening = self.opening.opening()?;
        let given = there(&settings)?;
        let mut progress = Progress::of("checked", Unit::Rows);
        let judged = backup::judge((path, &opening), &given.keys, &mut |table, done, total| {
            progress.show(Some(table), done, total);
        });
        progress.end();
        let judged = judged.map_err(refused)?;
        let replay = self.replay(&judged)?;
        if self.check {
            output::event(&said(&judged, &replay, None))?;
            return if self.record { self.put_on_record(&judged).await } else { Ok(()) };
        }
        let (written, completed) = self.write(&settings, (path, &opening), (&judged, &replay), given).await?;
        output::event(&said(&judged, &replay, Some((written, completed))))
    }

    async fn put_on_record(&self, judged: &Judged) -> Result<(), Failure> {
        let header = &judged.header;
        let which =
            json!({ "deployment": header.deployment, "epoch": header.epoch, "made_at": header.made_at });
        Client::authenticated(&self.target)?.post(&["v1", "backups", "checks"], &which).await?;
        Ok(())
    }

    /// What the audit logs know that the backup does not.
    fn replay(&self, judged: &Judged) -> Result<Replay, Failure> {
        let mut replay = Replay::default();
        for folder in &self.audit_dir {
            let at = |error: &dyn std::fmt::Display| {
                Failure::Local(format!("--audit-dir {}: {error}", folder.display()))
            };
            if !folder.is_dir() {
                return Err(at(&"there is no such folder"));
            }
            let backup = (judged.header.epoch, judged.header.made_at);
            replay.read(folder, backup).map_err(|error| at(&error))?;
        }
        if replay.is_newer(judged.header.epoch) {
            tell(&format!(
                "the audit log goes on after the backup: to epoch {}, where the backup ends at {} of {}; what was made in between is lost",
                replay.newest_epoch.map_or(0, |epoch| epoch.0),
                judged.header.epoch.0,
                judged.header.made_at.to_rfc3339(),
            ));
        }
        Ok(replay)
    }

    async fn write(
        &self,
        settings: &Settings,
        from: (&Path, &Opening),
        (judged, replay): (&Judged, &Replay),
        given: GivenMasters,
    ) -> Result<(Written, Completed), Failure> {
        let at = |error: &dyn std::fmt::Display| Failure::Local(format!("database.url: {error}"));
        let mut _lock = None;
        if let Some(file) = settings.database.file() {
            files::private_directory(settings.database.folder()).map_err(|error| at(&error))?;
            _lock = Some(DatabaseLock::acquire(file).map_err(|error| at(&error))?);
            files::private_file(file).map_err(|error| at(&error))?;
        }
        let database = Database::open(place(settings)).await.map_err(|error| at(&error))?;
        let how = backup::Restore {
            node: &settings.node,
            known: self.above_incarnation.max(replay.incarnation),
            with_damaged: self.with_damaged,
            now: SystemClock.now(),
        };
        let mut progress = Progress::of("restored", Unit::Rows);
        let written = backup::restore(judged, from, &database, &how, &mut |table, done, total| {
            progress.show(Some(table), done, total);
        })
        .await;
        progress.end();
        let written = match written {
            Ok(written) => written,
            Err(error) => {
                database.close().await;
                return Err(refused(error));
            }
        };
        let completed = complete(settings, database, given, replay).await;
        let unfinished = |error: &dyn std::fmt::Display| {
            Failure::Local(format!(
                "the restore was not finished: {error}; empty the database and restore again"
            ))
        };
        Ok((written, completed.map_err(|error| unfinished(&error))?))
    }
}

async fn complete(
    settings: &Settings,
    database: Database,
    given: GivenMasters,
    replay: &Replay,
) -> Result<Completed, boot::BootError> {
    let clock = Arc::new(ClusterClock::default());
    let defaults = default_keys(settings);
    let mut ring = boot::boot_restored(database, given, identity(settings), &defaults, clock).await?;
    let completed = ring.complete_restore(replay, &settings.node).await;
    ring.close().await;
    completed
}

/// The masters, which must be there already: a fresh one opens no backup.
fn there(settings: &Settings) -> Result<GivenMasters, Failure> {
    let keys = MasterKeys::new(secrets(settings)?);
    let keys = keys.ok_or_else(|| Failure::Local("seal.master_key: there is none".to_owned()))?;
    Ok(GivenMasters { keys, renew: None })
}

fn refused(error: BackupError) -> Failure {
    if let BackupError::Io(error) = &error {
        return Failure::file("--input", error);
    }
    let setting = if matches!(error, BackupError::Store(_)) { "database.url: " } else { "" };
    Failure::Local(format!("{setting}{error}"))
}

fn said(judged: &Judged, replay: &Replay, done: Option<(Written, Completed)>) -> Value {
    let header = &judged.header;
    json!({
        "event": if done.is_some() { "deployment_restored" } else { "backup_whole" },
        "deployment": header.deployment,
        "backup_epoch": header.epoch,
        "made_at": header.made_at,
        "rows": judged.rows,
        "damaged_rows": judged.trailer.damaged,
        "epoch": done.map(|(written, _)| written.epoch),
        "held_back": done.is_some(),
        "replayed": done.map(|(_, completed)| completed),
        "audit": {
            "newest_epoch": replay.newest_epoch,
            "newest_at": replay.newest_at,
            "is_newer": replay.is_newer(header.epoch),
            "lost": replay.lost,
        },
    })
}

fn tell(line: &str) {
    // Whoever does not look at it misses nothing that is not in the answer too.
    let _closed = writeln!(std::io::stderr(), "claviger: {line}");
}
