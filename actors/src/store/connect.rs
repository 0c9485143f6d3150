//! Connection and schema.

use std::{path::Path, time::Duration};

use claviger_migration::Migrator;
use sea_orm::{
    ConnectOptions, ConnectionTrait, DatabaseConnection, DbErr, RuntimeErr, TransactionTrait as _,
    sqlx::{
        self,
        sqlite::{SqliteJournalMode, SqliteSynchronous},
    },
};
use sea_orm_migration::MigratorTrait as _;
use tokio::runtime::Handle;

use super::{StoreError, retry, slow};

/// A statement that takes longer is given up by the server.
const STATEMENT_MAX: Duration = Duration::from_secs(10);
/// A connection that nobody has used for so long is asked for a sign of life before it is used.
const IDLE: Duration = Duration::from_millis(250);
/// The advisory lock under which one node at a time changes the schema.
const MIGRATION_LOCK: i64 = 0x636c_6176_6967_6572;

/// A connected, migrated database. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    pub(super) connection: DatabaseConnection,
    /// The runtime that opened it.
    home: Handle,
}

/// Where a database is.
#[derive(Clone, Copy)]
pub enum Place<'a> {
    /// A SQLite file; made when absent.
    File(&'a Path),
    /// A PostgreSQL server.
    Server {
        /// Its URL.
        url: &'a str,
        /// The URL of a role that may change the schema, where that is another.
        migration_url: Option<&'a str>,
        /// Connections.
        pool: Pool,
    },
}

/// Connections to a server.
#[derive(Debug, Clone, Copy)]
pub struct Pool {
    /// Kept open.
    pub min: u32,
    /// Open at most.
    pub max: u32,
    /// Longest time to wait for one.
    pub acquire_timeout: Duration,
    /// A connection is replaced when it is this old.
    pub max_lifetime: Duration,
}

/// Connections at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// Open.
    pub open: usize,
    /// Open and not in use.
    pub idle: usize,
    /// At most.
    pub most: usize,
}

impl Database {
    #[cfg(test)]
    pub(crate) const fn connection_for_tests(&self) -> &DatabaseConnection {
        &self.connection
    }

    /// Opens a database and brings its schema up to date.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn open(place: Place<'_>) -> Result<Self, StoreError> {
        match place {
            Place::File(path) => {
                let database = Self::connect_file(path).await?;
                database.bring_up_to_date().await?;
                Ok(database)
            }
            Place::Server { url, migration_url, pool } => {
                if let Some(migration_url) = migration_url {
                    // The role that serves has no right to the schema, not even to look whether something is missing.
                    Self::migrate(Place::Server { url: migration_url, migration_url: None, pool }).await?;
                    return Self::connect_server(url, pool).await;
                }
                let database = Self::connect_server(url, pool).await?;
                database.bring_up_to_date().await?;
                Ok(database)
            }
        }
    }

    /// Brings the schema up to date and closes the database; answers with the number of steps that were missing.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn migrate(place: Place<'_>) -> Result<usize, StoreError> {
        let database = match place {
            Place::File(path) => Self::connect_file(path).await?,
            Place::Server { url, migration_url, pool } => {
                let pool = Pool { min: 1, max: 1, ..pool };
                Self::connect_server(migration_url.unwrap_or(url), pool).await?
            }
        };
        let missing = database.bring_up_to_date().await?;
        database.close().await;
        Ok(missing)
    }

    /// Applies what is missing of the schema, one node at a time; the others wait and find nothing missing. All of it or nothing: half a
    /// schema would be one that no release knows.
    async fn bring_up_to_date(&self) -> Result<usize, StoreError> {
        retry::retried(|| async {
            let transaction = self.connection.begin_with_options(Self::writing()).await?;
            if self.is_shared() {
                // It waits its turn behind up to dozens of nodes, and a large table may take its time.
                transaction.execute_unprepared("SET LOCAL statement_timeout = 0").await?;
                let lock = format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})");
                transaction.execute_unprepared(&lock).await?;
            }
            refuse_newer(&transaction).await?;
            let missing = Migrator::get_pending_migrations(&transaction).await?.len();
            if missing > 0 {
                Migrator::up(&transaction, None).await?;
            }
            transaction.commit().await?;
            Ok(missing)
        })
        .await
    }

    /// One connection: the ring has one writer and readers never come here. WAL with `synchronous=FULL`, because an acknowledged
    /// key must survive the loss of power; `secure_delete`, because erased material must not stay in free pages.
    async fn connect_file(path: &Path) -> Result<Self, StoreError> {
        let mut options = ConnectOptions::new(format!("sqlite://{}?mode=rwc", path.display()));
        options.max_connections(1).min_connections(1).acquire_timeout(Duration::from_secs(5));
        options.map_sqlx_sqlite_opts(|sqlite| {
            sqlite
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .pragma("secure_delete", "ON")
                .busy_timeout(Duration::from_secs(2))
        });
        Self::connect(options).await
    }

    /// `synchronous_commit` is set on, whatever the server's or the role's default is: an acknowledged key must survive a crash of the server.
    async fn connect_server(url: &str, pool: Pool) -> Result<Self, StoreError> {
        let mut options = ConnectOptions::new(url);
        options
            .min_connections(pool.min)
            .max_connections(pool.max)
            .acquire_timeout(pool.acquire_timeout)
            .max_lifetime(pool.max_lifetime)
            .statement_timeout(STATEMENT_MAX)
            // A connection that was in use a moment ago need not be asked whether it is there: that would be another way there and back.
            .test_before_acquire_if_idle_for(IDLE)
            .set_application_name("claviger");
        options.map_sqlx_postgres_opts(|postgres| {
            postgres.options([
                ("synchronous_commit", "on"),
                // A node that stops or is cut off in the middle of a change must not hold the others' lock.
                ("idle_in_transaction_session_timeout", "5000"),
                ("tcp_keepalives_idle", "5"),
                ("tcp_keepalives_interval", "2"),
                ("tcp_keepalives_count", "3"),
            ])
        });
        Self::connect(options).await
    }

    async fn connect(mut options: ConnectOptions) -> Result<Self, StoreError> {
        // The driver would log the text of statements; what is slow is named instead.
        options.sqlx_logging(false);
        let mut connection = sea_orm::Database::connect(options).await.map_err(unreachable)?;
        connection.set_metric_callback(slow::statement);
        Ok(Self { connection, home: Handle::current() })
    }

    /// Opens a database that others may serve meanwhile, with a connection of its own, and changes nothing about its schema.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn beside(place: Place<'_>) -> Result<Self, StoreError> {
        let database = match place {
            Place::File(path) => {
                // One that is absent is not made here.
                std::fs::metadata(path)?;
                Self::connect_file(path).await?
            }
            Place::Server { url, migration_url, pool } => {
                let database = Self::connect_server(url, Pool { min: 1, max: 1, ..pool }).await?;
                if migration_url.is_some() {
                    // The role that serves may not look.
                    return Ok(database);
                }
                database
            }
        };
        // One of a newer release has migrations that are unknown here, which is an error.
        let pending = Migrator::get_pending_migrations_read_only(&database.connection).await;
        if !pending.map_err(|_| StoreError::NewerSchema)?.is_empty() {
            return Err(StoreError::OlderSchema);
        }
        Ok(database)
    }

    /// Asks for a sign of life.
    ///
    /// # Errors
    /// There is none.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.connection.execute_unprepared("SELECT 1").await?;
        Ok(())
    }

    /// Asks something where the connections live. A connection hears from its server only when the runtime that opened it has time to
    /// listen; one that a worker had opened would wait for that worker's other requests, and with it whoever got it next.
    pub(crate) async fn at_home<T, Q>(&self, question: impl FnOnce(Self) -> Q) -> Result<T, StoreError>
    where
        T: Send + 'static,
        Q: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        // The runtime is gone only when the process is.
        self.home.spawn(question(self.clone())).await.map_err(|_| StoreError::Late)?
    }

    /// How many connections there are, and how many of them do nothing.
    #[must_use]
    pub fn connections(&self) -> Connections {
        let (open, idle, most) = if self.is_shared() {
            let pool = self.connection.get_postgres_connection_pool();
            (pool.size(), pool.num_idle(), pool.options().get_max_connections())
        } else {
            let pool = self.connection.get_sqlite_connection_pool();
            (pool.size(), pool.num_idle(), pool.options().get_max_connections())
        };
        let open = usize::try_from(open).unwrap_or(usize::MAX);
        Connections { idle: idle.min(open), open, most: usize::try_from(most).unwrap_or(usize::MAX) }
    }

    /// Closes the connection, so that the WAL is folded into the file.
    pub async fn close(self) {
        if let Err(error) = self.connection.close().await {
            tracing::warn!(%error, "the database was not closed in order");
        }
    }
}

/// Says why there is no connection, where that is the network's, the certificate's or the server's word: none of them quotes the URL.
pub(super) fn unreachable(error: DbErr) -> StoreError {
    let DbErr::Conn(RuntimeErr::SqlxError(cause)) = &error else { return error.into() };
    let said = if let sqlx::Error::Io(cause) = cause.as_ref() {
        cause.to_string()
    } else if let sqlx::Error::Tls(cause) = cause.as_ref() {
        cause.to_string()
    } else if let sqlx::Error::Database(cause) = cause.as_ref() {
        cause.message().to_owned()
    } else if matches!(cause.as_ref(), sqlx::Error::PoolTimedOut) {
        "no connection in time".to_owned()
    } else {
        return error.into();
    };
    StoreError::Unreachable(said)
}

/// Refuses a schema that this release does not know all of; a release reads what the one before wrote, not what the one after does.
async fn refuse_newer(connection: &impl ConnectionTrait) -> Result<(), StoreError> {
    let known: Vec<String> =
        Migrator::migrations().iter().map(|migration| migration.name().to_owned()).collect();
    let applied = Migrator::get_migration_models(connection).await?;
    if applied.iter().all(|migration| known.contains(&migration.version)) {
        Ok(())
    } else {
        Err(StoreError::NewerSchema)
    }
}
