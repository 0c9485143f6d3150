//! `claviger migrate`: the schema, without serving.

use std::{io, process::ExitCode};

use claviger_actors::store::Database;
use serde_json::json;

use super::{configuration::File, failure::Failure, output};
use crate::{lock::DatabaseLock, startup::place};

/// Applies what is missing of the schema and says how many steps that took.
///
/// A database that does not exist is left to `serve`, which makes it together with its master key: beside a database without one, a
/// start is refused.
///
/// # Errors
/// Another process has the database, or it can't be migrated.
pub(super) async fn run(file: &File) -> Result<ExitCode, Failure> {
    let settings = file.settings()?;
    let at = |error: &io::Error| Failure::Local(format!("database.url: {error}"));
    // A server's URL may hold a password.
    let database =
        settings.database.file().map_or_else(|| "postgres".to_owned(), |file| file.display().to_string());
    let mut _lock = None;
    if let Some(file) = settings.database.file() {
        match std::fs::metadata(file) {
            Ok(metadata) if metadata.len() > 0 => {}
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&error)),
            Ok(_) | Err(_) => {
                output::event(&json!({ "event": "absent", "database": database, "applied": 0 }))?;
                return Ok(ExitCode::SUCCESS);
            }
        }
        _lock = Some(DatabaseLock::acquire(file).map_err(|error| at(&error))?);
    }
    let applied = Database::migrate(place(&settings)).await;
    let applied = applied.map_err(|error| Failure::Local(format!("database.url: {error}")))?;
    output::event(&json!({ "event": "migrated", "database": database, "applied": applied }))?;
    Ok(ExitCode::SUCCESS)
}
