//! The log behind its handle: many at once, a disk that fails, one that hangs.

use std::{fs, path::Path, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use serde_json::{Value, json};

use super::{
    AuditHandle, AuditUnavailable, Sinks, Start, directory, log::Options, scan, signed::tests::OwnKey,
};
use crate::clock::ClusterClock;

fn start(directory: &Path, deadline: Duration) -> AuditHandle {
    AuditHandle::start(Start {
        options: Options {
            directory: directory.to_owned(),
            node: "n1".to_owned(),
            version: "0".to_owned(),
            level: "full",
            segment_bytes: 64 << 20,
            checkpoint_lines: 10_000,
            checkpoint_interval: Duration::from_secs(5),
            sync: false,
        },
        signer: Arc::new(OwnKey::default()),
        known: None,
        clock: Arc::new(ClusterClock::default()),
        deadline,
        sinks: Sinks::default(),
    })
}

fn lines(directory: &Path) -> Vec<Value> {
    let path = directory.join(directory::CURRENT);
    let scan = scan::scan(&path, &[]).unwrap().unwrap();
    assert!(!scan.broken && scan.torn == 0);
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[actix::test]
async fn whatever_comes_at_once_is_written_together_and_before_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let audit = start(folder.path(), Duration::from_secs(5));
    let many: Vec<_> = (0..500)
        .map(|n| {
            let audit = audit.clone();
            actix::spawn(async move {
                audit.append(&json!({ "ts": "t", "event": "e", "n": n }), n % 100 == 0).await
            })
        })
        .collect();
    for one in many {
        one.await.unwrap().unwrap();
    }
    let found: Vec<_> = lines(folder.path()).iter().filter_map(|line| line["n"].as_u64()).collect();
    assert_eq!(found, (0..500).collect::<Vec<_>>());
    let figures = audit.figures();
    assert_eq!((figures.records, figures.waiting), (500, 0));
    assert!(figures.groups <= 5, "{figures:?}");
    let security = fs::read_to_string(folder.path().join(directory::SECURITY)).unwrap();
    assert_eq!(security.lines().count(), 5);
    audit.close().await;
    assert_eq!(lines(folder.path()).last().unwrap()["event"], "audit_checkpoint");
    assert!(audit.anchors().borrow().is_some());
}

#[actix::test]
async fn whoever_gives_up_leaves_the_others_alone() {
    let folder = tempfile::tempdir().unwrap();
    let audit = start(folder.path(), Duration::from_secs(5));
    // The first of a group is the one that has it sent; here nobody waits for it.
    {
        let record = json!({ "ts": "t", "event": "gone" });
        let first = audit.append(&record, false);
        assert!(first.now_or_never().is_none());
    }
    audit.append(&json!({ "ts": "t", "event": "stays" }), false).await.unwrap();
    let events: Vec<_> = lines(folder.path()).iter().map(|line| line["event"].clone()).collect();
    assert!(events.ends_with(&[json!("gone"), json!("stays")]), "{events:?}");
    assert_eq!(audit.figures().waiting, 0);
}

#[actix::test]
async fn a_disk_that_fails_fails_nobody_later() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("audit");
    fs::write(&blocked, b"").unwrap();
    let audit = start(&blocked, Duration::from_secs(5));
    let record = json!({ "ts": "t", "event": "e" });
    assert_eq!(audit.append(&record, false).await, Err(AuditUnavailable::Unwritable));
    assert!(!audit.is_writable() && !audit.is_stuck());
    fs::remove_file(&blocked).unwrap();
    audit.append(&record, false).await.unwrap();
    assert!(audit.is_writable());
    let lines = lines(&blocked);
    let resumed = lines.iter().find(|line| line["event"] == "audit_resumed").unwrap();
    assert_eq!(resumed["left_out"], 1);
}

#[actix::test]
async fn however_often_it_is_tried_in_vain_it_is_said_once() {
    let folder = tempfile::tempdir().unwrap();
    let audit = start(folder.path(), Duration::from_secs(5));
    let record = json!({ "ts": "t", "event": "e" });
    audit.append(&record, false).await.unwrap();
    // The log is open, and its folder is not one any more.
    let aside = folder.path().with_extension("aside");
    fs::rename(folder.path(), &aside).unwrap();
    fs::write(folder.path(), b"").unwrap();
    for _ in 0..50 {
        assert_eq!(audit.append(&record, false).await, Err(AuditUnavailable::Unwritable));
    }
    fs::remove_file(folder.path()).unwrap();
    fs::rename(&aside, folder.path()).unwrap();
    audit.append(&record, false).await.unwrap();
    let resumed: Vec<_> =
        lines(folder.path()).into_iter().filter(|line| line["event"] == "audit_resumed").collect();
    assert_eq!(resumed.len(), 1, "{resumed:?}");
    assert_eq!(resumed[0]["left_out"], 50);
}

#[actix::test]
async fn a_record_without_bounds_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let audit = start(folder.path(), Duration::from_secs(5));
    let long = json!({ "ts": "t", "event": "e", "x": "x".repeat(9_000) });
    assert_eq!(audit.append(&long, false).await, Err(AuditUnavailable::Unwritable));
    audit.append(&json!({ "ts": "t", "event": "e" }), false).await.unwrap();
}

#[actix::test]
async fn a_disk_that_hangs_holds_nobody_longer_than_the_deadline() {
    let folder = tempfile::tempdir().unwrap();
    // A pipe that nobody reads: to open it does not come back.
    let path = folder.path().join(directory::CURRENT);
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let audit = start(folder.path(), Duration::from_millis(200));
    let record = json!({ "ts": "t", "event": "e" });
    assert_eq!(audit.append(&record, false).await, Err(AuditUnavailable::Late));
    assert!(audit.is_stuck());
    let began = std::time::Instant::now();
    for _ in 0..1_000 {
        assert_eq!(audit.append(&record, false).await, Err(AuditUnavailable::Late));
    }
    assert!(began.elapsed() < Duration::from_millis(200), "nobody waits any more");
    // Whoever opens the other end lets it go on; what it reads there is no segment.
    let end = tokio::task::spawn_blocking(move || fs::OpenOptions::new().write(true).open(path).map(drop));
    end.await.unwrap().unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while audit.is_stuck() && std::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    audit.append(&record, false).await.unwrap();
    assert_eq!(lines(folder.path()).iter().filter(|line| line["event"] == "e").count(), 1);
}
