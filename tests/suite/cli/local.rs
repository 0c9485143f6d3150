//! Commands that work on a node's own data.

use claviger_tests::{Node, node};
use sea_orm::ConnectionTrait as _;

use super::run;

const MASTER: (&str, &str) = ("CLAVIGER_SEAL__MASTER_KEY", node::MASTER);

#[test]
fn the_schema_is_brought_up_to_date_without_serving() {
    let folder = tempfile::tempdir().unwrap();
    let migrate = || run(folder.path(), &["migrate"], b"", &[MASTER]);
    let absent = migrate().json();
    assert_eq!((&absent["event"], &absent["applied"]), (&"absent".into(), &0.into()));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "something was written");

    // A database from before the first step of the schema.
    std::fs::create_dir(folder.path().join("data")).unwrap();
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("data/claviger.db").display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let database = sea_orm::Database::connect(url).await.unwrap();
        database.execute_unprepared("CREATE TABLE before (x INTEGER)").await.unwrap();
        database.close().await.unwrap();
    });
    let migrated = migrate();
    assert_eq!(migrated.text().lines().count(), 1);
    let migrated = migrated.json();
    assert_eq!((&migrated["event"], &migrated["database"]), (&"migrated".into(), &"data/claviger.db".into()));
    assert!(migrated["applied"].as_u64().unwrap() >= 1);
    assert_eq!(migrate().json()["applied"], 0);
    let node = Node::within(folder, &[]);
    node.client().get("/v1/keys").expect(200);
}

#[test]
fn nothing_is_migrated_under_a_process_that_serves() {
    let mut node = Node::start();
    let config = node.folder().join("c.toml");
    std::fs::write(&config, "[database]\nurl = \"sqlite://data/claviger.db\"\n").unwrap();
    let migrate = |node: &Node| run(node.folder(), &["migrate", "--config", "c.toml"], b"", &[MASTER]);
    migrate(&node).refused("database.url: another process serves this database");
    node.client().get("/v1/keys").expect(200);
    assert!(node.terminate().success());
    assert_eq!(migrate(&node).json()["applied"], 0);
}

#[test]
fn bad_configuration_stops_every_command_that_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    for command in ["serve", "migrate"] {
        run(folder.path(), &[command], b"", &[("CLAVIGER_NONSENSE", "1")]).refused("CLAVIGER_NONSENSE ");
        run(folder.path(), &[command, "--config", "absent"], b"", &[]).refused("--config names a file");
    }
}
