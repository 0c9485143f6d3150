//! Why the database did not answer as asked.

use crate::seal::SealError;

/// A failure of the store. Messages name no value.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused or is away.
    #[error("the database failed")]
    Database(#[from] sea_orm::DbErr),
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
    /// The database's folder or file could not be made.
    #[error("the database file could not be opened")]
    Io(#[from] std::io::Error),
}
