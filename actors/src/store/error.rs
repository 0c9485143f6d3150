//! Why the database did not answer as asked.

use sea_orm::{DbErr, RuntimeErr};

use crate::seal::SealError;

/// A failure of the store. Messages name no value.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused or is away.
    #[error("the database failed")]
    Database(#[from] DbErr),
    /// No connection at the start.
    #[error("the database is not reached: {0}")]
    Unreachable(String),
    /// Another writer was there first, or a row is gone.
    #[error("the database was changed by another writer")]
    Conflict,
    /// It follows another one.
    #[error("the database is a standby; name the primary")]
    Standby,
    /// A newer release has been here.
    #[error("the database has the schema of a newer release; upgrade this node")]
    NewerSchema,
    /// It did not answer in time.
    #[error("the database did not answer in time")]
    Late,
    /// A value could not be written as JSON.
    #[error("a value could not be encoded")]
    Encoding(#[from] serde_json::Error),
    /// Sealing failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The row that describes the deployment was edited.
    #[error("the table ring_meta was changed from outside; restore the database from a backup")]
    MetaDamaged,
    /// A restore was cut off.
    #[error("a restore into this database was not finished; empty the database and restore again")]
    RestoreUnfinished,
    /// Its schema is that of the release before.
    #[error("the database has the schema of an older release; run `claviger migrate` first")]
    OlderSchema,
    /// The database's folder or file could not be made.
    #[error("the database file could not be opened")]
    Io(#[from] std::io::Error),
}

impl StoreError {
    /// The database is there and does not take these rows, now or ever.
    #[must_use]
    pub fn is_about_the_rows(&self) -> bool {
        let Self::Database(
            DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause)),
        ) = self
        else {
            return false;
        };
        let code = cause.as_database_error().and_then(|error| error.code());
        code.is_some_and(|code| match code.parse::<u32>() {
            // SQLite, with its extensions: TOOBIG, CONSTRAINT, MISMATCH.
            Ok(number) if code.len() != 5 => matches!(number % 256, 18..=20),
            // PostgreSQL: data exceptions, violated constraints, limits of a statement.
            Ok(_) | Err(_) => ["22", "23", "54"].iter().any(|class| code.starts_with(class)),
        })
    }
}
