//! `claviger migrate`: the schema, without serving.

use std::{io, process::ExitCode};

use claviger_actors::store::Database;
use serde_json::json;

use super::{configuration::File, failure::Failure, output};
use crate::lock::DatabaseLock;

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
    let database = settings.database.display().to_string();
    match std::fs::metadata(&settings.database) {
        Ok(metadata) if metadata.len() > 0 => {}
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&error)),
        Ok(_) | Err(_) => {
            output::event(&json!({ "event": "absent", "database": database, "applied": 0 }))?;
            return Ok(ExitCode::SUCCESS);
        }
    }
    let _lock = DatabaseLock::acquire(&settings.database).map_err(|error| at(&error))?;
    let applied = Database::migrate_sqlite(&settings.database).await;
    let applied = applied.map_err(|error| Failure::Local(format!("database.url: {error}")))?;
    output::event(&json!({ "event": "migrated", "database": database, "applied": applied }))?;
    Ok(ExitCode::SUCCESS)
}
