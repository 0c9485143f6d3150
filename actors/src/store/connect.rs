//! Connection and schema.

use std::{path::Path, time::Duration};

use claviger_migration::Migrator;
use sea_orm::{
    ConnectOptions, ConnectionTrait as _, DatabaseConnection,
    sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous},
};
use sea_orm_migration::MigratorTrait as _;

use super::StoreError;

/// A connected, migrated database. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    pub(super) connection: DatabaseConnection,
}

impl Database {
    /// Opens a SQLite file, makes it when absent, and brings its schema up to date.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn open_sqlite(path: &Path) -> Result<Self, StoreError> {
        let database = Self::connect_sqlite(path).await?;
        Migrator::up(&database.connection, None).await?;
        Ok(database)
    }

    /// Brings the schema of a SQLite file up to date and closes it; answers with the number of steps that were missing.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn migrate_sqlite(path: &Path) -> Result<usize, StoreError> {
        let database = Self::connect_sqlite(path).await?;
        let missing = Migrator::get_pending_migrations(&database.connection).await?.len();
        Migrator::up(&database.connection, None).await?;
        database.close().await;
        Ok(missing)
    }

    /// One connection: the ring has one writer and readers never come here. WAL with `synchronous=FULL`, because an acknowledged
    /// key must survive the loss of power; `secure_delete`, because erased material must not stay in free pages.
    async fn connect_sqlite(path: &Path) -> Result<Self, StoreError> {
        let mut options = ConnectOptions::new(format!("sqlite://{}?mode=rwc", path.display()));
        options
            .max_connections(1)
            .min_connections(1)
            .acquire_timeout(Duration::from_secs(5))
            .sqlx_logging(false);
        options.map_sqlx_sqlite_opts(|sqlite| {
            sqlite
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .pragma("secure_delete", "ON")
                .busy_timeout(Duration::from_secs(2))
        });
        Ok(Self { connection: sea_orm::Database::connect(options).await? })
    }

    /// Asks for a sign of life.
    ///
    /// # Errors
    /// There is none.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.connection.execute_unprepared("SELECT 1").await?;
        Ok(())
    }

    /// Closes the connection, so that the WAL is folded into the file.
    pub async fn close(self) {
        if let Err(error) = self.connection.close().await {
            tracing::warn!(%error, "the database was not closed in order");
        }
    }
}
