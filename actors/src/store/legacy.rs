//! The database of a system that is being replaced: read, never written.

use std::{path::Path, time::Duration};

use sea_orm::{ConnectOptions, ConnectionTrait as _, DatabaseConnection, DbBackend, QueryResult, Statement};
use zeroize::Zeroizing;

use super::{StoreError, connect::unreachable};

/// A statement that takes longer is given up by the server.
const STATEMENT_MAX: Duration = Duration::from_secs(60);

/// Where such a database is.
#[derive(Clone, Copy)]
pub enum LegacyPlace<'a> {
    /// A SQLite file.
    File(&'a Path),
    /// The URL of a PostgreSQL server.
    Server(&'a str),
}

/// A connection to it.
pub struct LegacyDatabase(DatabaseConnection);

/// A row: every column as text, in the order that was asked for.
pub type LegacyRow = Vec<Option<Zeroizing<String>>>;

impl LegacyDatabase {
    /// Opens it for reading.
    ///
    /// # Errors
    /// It is not there, or does not let us in.
    pub async fn open(place: LegacyPlace<'_>) -> Result<Self, StoreError> {
        let mut options = match place {
            LegacyPlace::File(path) => ConnectOptions::new(format!("sqlite://{}?mode=ro", path.display())),
            LegacyPlace::Server(url) => {
                let mut options = ConnectOptions::new(url);
                options.statement_timeout(STATEMENT_MAX).set_application_name("claviger import");
                options.map_sqlx_postgres_opts(|postgres| {
                    postgres.options([("default_transaction_read_only", "on")])
                });
                options
            }
        };
        options.max_connections(1).sqlx_logging(false);
        Ok(Self(sea_orm::Database::connect(options).await.map_err(unreachable)?))
    }

    /// Names of a table's columns; none when there is no such table.
    ///
    /// # Errors
    /// The database failed.
    pub async fn columns(&self, table: &'static str) -> Result<Vec<String>, StoreError> {
        let backend = self.0.get_database_backend();
        let sql = if backend == DbBackend::Sqlite {
            "SELECT name FROM pragma_table_info($1)"
        } else {
            "SELECT column_name AS name FROM information_schema.columns
             WHERE table_name = $1 AND table_schema = ANY (current_schemas(false))"
        };
        let rows = self.0.query_all_raw(Statement::from_sql_and_values(backend, sql, [table.into()])).await?;
        rows.iter().map(|row| Ok(row.try_get("", "name")?)).collect()
    }

    /// So many rows of a table behind others, in the order of its first column. Names are our own, so they can do no harm in a statement.
    ///
    /// # Errors
    /// The database failed.
    pub async fn rows(
        &self,
        table: &'static str,
        columns: &[&'static str],
        (offset, limit): (u64, u64),
    ) -> Result<Vec<LegacyRow>, StoreError> {
        let texts: Vec<String> = columns
            .iter()
            .enumerate()
            .map(|(index, column)| format!("CAST(\"{column}\" AS TEXT) AS c{index}"))
            .collect();
        let order: Vec<String> = columns.iter().take(2).map(|column| format!("\"{column}\"")).collect();
        let sql = format!(
            "SELECT {} FROM \"{table}\" ORDER BY {} LIMIT {limit} OFFSET {offset}",
            texts.join(", "),
            order.join(", ")
        );
        let rows = self.0.query_all_raw(Statement::from_string(self.0.get_database_backend(), sql)).await?;
        let cell = |row: &QueryResult, index: usize| -> Result<Option<Zeroizing<String>>, StoreError> {
            Ok(row.try_get::<Option<String>>("", &format!("c{index}"))?.map(Zeroizing::new))
        };
        rows.iter().map(|row| (0..columns.len()).map(|index| cell(row, index)).collect()).collect()
    }
}
