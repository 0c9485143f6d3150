//! Backups by the schedule: one a moment in the whole cluster.

use std::{fs, time::Duration};

use claviger_tests::{Cluster, node, process};
use serde_json::json;
use uuid::Uuid;

use super::{MASTER, Safe};
use crate::cli::run;

const LONG: Duration = Duration::from_secs(90);

#[test]
fn one_node_of_a_cluster_makes_the_backup_of_a_moment() {
    let safe = Safe::new();
    let directory = safe.file("backups");
    let environment = [
        // The last moment that this names is the first of the month: it is due at once, and not again today.
        ("CLAVIGER_BACKUP__SCHEDULE", "0 0 1 * *"),
        ("CLAVIGER_BACKUP__DIRECTORY", directory.as_str()),
        ("CLAVIGER_BACKUP__RECIPIENT", safe.recipient.as_str()),
        ("CLAVIGER_BACKUP__KEEP", "2"),
    ];
    let cluster = Cluster::start(3, &environment);
    let figure = |node: usize, name: &str| -> f64 {
        let page = cluster.client(node).get("/metrics").text;
        let line = page.lines().find(|line| line.starts_with(name) && !line.starts_with('#')).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let known = "claviger_backup_scheduled_timestamp_seconds";
    let all_know = || (0..3).all(|node| figure(node, known) > 1e9).then_some(());
    process::until(LONG, all_know).expect("a backup is made, and all nodes know of it");
    let made: f64 = (0..3).map(|node| figure(node, "claviger_backups_total{outcome=\"made\"}")).sum();
    assert!((made - 1.0).abs() < 0.1, "{made}");
    let files: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let folder = tempfile::tempdir().unwrap();
    let (file, identity) = (files[0].display().to_string(), safe.file("identity"));
    let url = format!("http://{}", cluster.nodes[1].address());
    let check = ["restore", "--check", "--record", "--url", &url, "--input", &file, "--identity", &identity];
    let whole = run(folder.path(), &check, b"", &[MASTER, ("CLAVIGER_TOKEN", node::TOKEN)]).json();
    // The report has both, on every node, and the tale of another deployment's backup is not taken down.
    let told = || {
        let backups = cluster.client(2).get("/v1/report").expect(200)["backups"].clone();
        (backups["tested"][0]["epoch"] == whole["backup_epoch"] && backups["made"].is_array())
            .then_some(backups)
    };
    let backups = process::until(LONG, told).expect("that it was tested is on record");
    assert_eq!((&backups["tested"][0]["made_at"], &backups["overdue"]), (&whole["made_at"], &json!(false)));
    assert!(backups["scheduled_at"].is_string() && backups["due_at"].is_string(), "{backups}");
    assert_eq!(backups["made"].as_array().unwrap().len(), 1, "{backups}");
    let mut strange = json!({"deployment": Uuid::nil(), "epoch": 1, "made_at": "2026-01-01T00:00:00Z"});
    cluster.client(0).post("/v1/backups/checks", &strange).refused(400, "invalid_request");
    strange["deployment"] = whole["deployment"].clone();
    cluster.client(0).post("/v1/backups/checks", &strange).expect(201);
    strange["epoch"] = json!(u64::MAX);
    cluster.client(0).post("/v1/backups/checks", &strange).refused(400, "invalid_request");
    // A node that comes later finds it made.
    let late = cluster.join(9, &environment);
    let knows = || {
        let page = late.client().get("/metrics").text;
        page.lines().any(|line| line.starts_with(known) && !line.ends_with(" 0")).then_some(())
    };
    process::until(LONG, knows).expect("it knows");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
}
