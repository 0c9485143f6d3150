//! As many rows as there may be, in as much memory as there always is.

#![expect(clippy::print_stderr, reason = "whoever reads a failure needs the figures")]

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use chrono::Utc;
use claviger_tests::{Node, node, seed, volume};

use super::{MASTER, Safe};

/// Runs the command and answers with the most memory that it ever had, in bytes.
fn peak(folder: &Path, arguments: &[&str]) -> u64 {
    let began = Instant::now();
    let mut child = Command::new(node::binary())
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env(MASTER.0, MASTER.1)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut most = 0;
    let status = loop {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        if let Some(line) = status.lines().find_map(|line| line.strip_prefix("VmHWM:")) {
            most = line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10;
        }
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        claviger_tests::process::pause(std::time::Duration::from_millis(5));
    };
    assert!(status.success(), "{arguments:?}");
    eprintln!("{}: {} MiB at most, {:?}", arguments[0], most >> 20, began.elapsed());
    most
}

#[test]
fn a_million_rows_are_backed_up_and_restored_in_bounded_memory() {
    let (safe, rows) = (Safe::new(), volume(1_000_000));
    let node = Node::start();
    node.client().get("/readyz").expect(200);
    let database = node.database();
    let folder = node.into_folder();
    crate::tampered::run(seed::revocations(&database, rows, now()));
    let (file, identity) = (safe.file("file"), safe.file("identity"));
    let backup = ["backup", "--output", &file, "--recipient", &safe.recipient];
    let elsewhere = tempfile::tempdir().unwrap();
    let restore = ["restore", "--input", &file, "--identity", &identity];
    for (folder, arguments) in [(folder.path(), backup.as_slice()), (elsewhere.path(), restore.as_slice())] {
        let most = peak(folder, arguments);
        assert!(most < 100 << 20, "{}: {} MiB", arguments[0], most >> 20);
    }
    // Under a passphrase the key is stretched before anything else is in memory.
    let (file, passphrase) = (safe.file("second"), safe.file("passphrase"));
    let most = peak(folder.path(), &["backup", "--output", &file, "--passphrase-file", &passphrase]);
    assert!(most < 100 << 20, "{} MiB", most >> 20);
    let count = |folder: &Path| revoked(&folder.join("data/claviger.db"));
    assert_eq!((count(folder.path()), count(elsewhere.path())), (rows as i64, rows as i64));
}

/// How many revocations there are.
pub(super) fn revoked(database: &Path) -> i64 {
    crate::tampered::run(async {
        let connection = crate::tampered::open(database).await;
        let count = crate::tampered::count(&connection, "revocations").await;
        connection.close().await.unwrap();
        count
    })
}

#[expect(clippy::disallowed_methods, reason = "what is revoked must not have expired")]
pub(super) fn now() -> chrono::DateTime<Utc> {
    Utc::now()
}
