//! A node whose database somebody else wrote to.

use claviger_tests::Node;
use sea_orm::{ConnectionTrait as _, Database, DatabaseConnection, Statement};
use serde_json::Value;

pub(crate) struct Tampered {
    pub(crate) node: Node,
}

impl Tampered {
    /// Runs SQL on a stopped node's database and starts it again.
    pub(crate) fn with(sql: &[String], prepare: impl FnOnce(&Node)) -> Self {
        let node = Node::start();
        prepare(&node);
        let folder = node.into_folder();
        let path = folder.path().join("data/claviger.db");
        run(async {
            let connection = open(&path).await;
            for sql in sql {
                connection.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            }
            connection.close().await.unwrap();
        });
        Self { node: Node::within(folder, &[]) }
    }

    pub(crate) fn quarantined(&self) -> Vec<(String, Option<u64>)> {
        let log = self.node.log();
        log.lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|line| line["fields"]["message"] == "row quarantined")
            .map(|line| {
                (line["fields"]["key"].as_str().unwrap().to_owned(), line["fields"]["version"].as_u64())
            })
            .collect()
    }
}

pub(crate) async fn open(path: &std::path::Path) -> DatabaseConnection {
    Database::connect(format!("sqlite://{}", path.display())).await.unwrap()
}

pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// A value that differs from the one that is there, by the column's type.
pub(crate) fn changed(column: &str, kind: &str) -> String {
    match kind {
        "BLOB" | "blob" => format!(
            // The last byte may be any already.
            "CASE WHEN {column} IS NULL THEN x'00' ELSE substr({column}, 1, length({column}) - 1) || \
             CASE WHEN substr({column}, -1) = x'07' THEN x'08' ELSE x'07' END END"
        ),
        kind if kind.to_ascii_lowercase().contains("int") || kind.to_ascii_lowercase().contains("bool") => {
            format!("CASE WHEN {column} IS NULL THEN 1 ELSE 1 - {column} END")
        }
        _ => format!("CASE WHEN {column} IS NULL THEN 'x' ELSE {column} || 'x' END"),
    }
}

pub(crate) fn columns(table: &str) -> Vec<(String, String)> {
    let node = Node::start();
    let path = node.database();
    run(async {
        let connection = open(&path).await;
        let statement =
            Statement::from_string(connection.get_database_backend(), format!("PRAGMA table_info({table})"));
        let rows = connection.query_all_raw(statement).await.unwrap();
        rows.iter().map(|row| (row.try_get("", "name").unwrap(), row.try_get("", "type").unwrap())).collect()
    })
}

pub(crate) async fn count(connection: &DatabaseConnection, table: &str) -> i64 {
    let sql = format!("SELECT count(*) AS count FROM {table}");
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    connection.query_one_raw(statement).await.unwrap().unwrap().try_get("", "count").unwrap()
}
