//! `claviger seal old-masters`: masters of before, which are kept sealed under the one in use.
//!
//! It works on the database itself, with the master in use at hand, and on no route: whoever may call a node must not get at a master.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use chrono::DateTime;
use clap::Args;
use claviger_actors::{
    audit::event_of,
    clock::{Clock as _, SystemClock},
    seal::{Kek, OldMaster},
    store::Database,
};
use claviger_config::Settings;
use claviger_crypto::secret::SecretBytes;
use serde_json::{Value, json};

use super::{configuration::File, failure::Failure, output};
use crate::{
    lock::DatabaseLock,
    startup::{masters, place},
};

/// Masters of before: list, reveal into a file, remove. Works on the configured database; a SQLite database must not be served meanwhile.
#[derive(Debug, Args)]
pub(super) struct OldMasters {
    #[command(flatten)]
    file: File,
    /// Write the master of this fingerprint to a file.
    #[arg(long, value_name = "FINGERPRINT", requires = "output", conflicts_with = "remove")]
    reveal: Option<String>,
    /// The file, which must not be there yet; only its owner may read it.
    #[arg(long, value_name = "FILE", requires = "reveal")]
    output: Option<PathBuf>,
    /// Remove the master of this fingerprint for good.
    #[arg(long, value_name = "FINGERPRINT")]
    remove: Option<String>,
}

impl OldMasters {
    /// Runs the command.
    ///
    /// # Errors
    /// The database can't be opened, or none of the given masters is in use.
    pub(super) async fn run(&self) -> Result<ExitCode, Failure> {
        let settings = self.file.settings()?;
        let at = |setting: &str| {
            let setting = setting.to_owned();
            move |error: &dyn std::fmt::Display| Failure::Local(format!("{setting}: {error}"))
        };
        let _lock = match settings.database.file() {
            Some(file) => {
                // One that is absent is not made here.
                std::fs::metadata(file).map_err(|error| at("database.url")(&error))?;
                Some(DatabaseLock::acquire(file).map_err(|error| at("database.url")(&error))?)
            }
            None => None,
        };
        let given = masters(&settings, settings.database.folder());
        let given = given.map_err(|error| at("seal.master_key")(&error))?.keys;
        let database = Database::open(place(&settings)).await.map_err(|error| at("database.url")(&error))?;
        let kept = database.old_masters(&given).await;
        let (kek, kept) = kept.map_err(|error| at("database.url")(&error))?;
        let answer = match (&self.reveal, &self.output, &self.remove) {
            (Some(fingerprint), Some(output), _) => {
                reveal((&settings, &database), find(&kept, fingerprint)?, &kek, output).await?
            }
            (_, _, Some(fingerprint)) => remove((&settings, &database), find(&kept, fingerprint)?).await?,
            (_, _, None) => json!({ "items": kept.iter().map(|row| shown(&kek, row)).collect::<Vec<_>>() }),
        };
        database.close().await;
        output::json(&answer)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn find<'a>(kept: &'a [OldMaster], fingerprint: &str) -> Result<&'a OldMaster, Failure> {
    let none = || {
        Failure::Local(
            "no master of this fingerprint is kept; list them without --reveal and --remove".to_owned(),
        )
    };
    kept.iter().find(|row| row.fingerprint == fingerprint).ok_or_else(none)
}

fn shown(kek: &Kek, row: &OldMaster) -> Value {
    json!({
        "fingerprint": row.fingerprint,
        "version": row.version,
        "replaced_at": DateTime::from_timestamp_millis(row.replaced_at),
        // One that was edited in the database opens for nobody.
        "sound": kek.old_master(row).is_ok(),
    })
}

async fn reveal(
    (settings, database): (&Settings, &Database),
    row: &OldMaster,
    kek: &Kek,
    path: &Path,
) -> Result<Value, Failure> {
    let failed =
        |error: &dyn std::fmt::Display| Failure::Local(format!("the master can't be revealed: {error}"));
    let secret = kek.old_master(row).map_err(|error| failed(&error))?;
    // First it is on record, then somebody has it.
    let record = record(settings, "seal.reveal_old", row);
    database.record_by_hand(record).await.map_err(|error| failed(&error))?;
    write(path, &secret).map_err(|error| Failure::Local(format!("--output: {error}")))?;
    Ok(json!({ "fingerprint": row.fingerprint, "version": row.version, "file": path }))
}

async fn remove((settings, database): (&Settings, &Database), row: &OldMaster) -> Result<Value, Failure> {
    let removed =
        database.remove_old_master(&row.fingerprint, record(settings, "seal.remove_old", row)).await;
    let removed = removed.map_err(|error| Failure::Local(format!("database.url: {error}")))?;
    Ok(json!({ "fingerprint": row.fingerprint, "version": row.version, "removed": removed }))
}

fn write(path: &Path, secret: &SecretBytes) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(secret.expose()).and_then(|()| file.write_all(b"\n")).and_then(|()| file.sync_all())
}

/// Nobody is authenticated here: who has the database and the master in use is the operator.
fn record(settings: &Settings, operation: &str, row: &OldMaster) -> String {
    let record = json!({
        "ts": SystemClock.now(),
        "event": event_of(operation),
        "operation": operation,
        "actor": "operator",
        "fingerprint": row.fingerprint,
        "master_version": row.version,
        "node": settings.node,
        "outcome": "ok",
    });
    record.to_string()
}
