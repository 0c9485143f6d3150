//! The keeper against real folders, and a database that comes and goes.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use claviger_crypto::secret::SecretBytes;
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};

use super::{
    bench::{Bench, DAY, now},
    plan::{Folder, Kept},
    *,
};
use crate::{
    audit::{about, directory, line::Line},
    seal::MasterKeys,
    store::{Database, EventFilter, Place},
};

fn lines(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut directory::read(path).unwrap(), &mut bytes).unwrap();
    bytes
}

fn kept(chain: u128, segment: u64, days: u32) -> Kept {
    let modified = SystemTime::from(now()) - DAY * days;
    Kept { chain: Uuid::from_u128(chain), segment, paths: Vec::new(), bytes: 10, modified }
}

#[test]
fn what_is_old_or_too_much_goes_from_the_front() {
    let closed = vec![kept(1, 1, 200), kept(1, 2, 100), kept(1, 3, 10), kept(2, 1, 95), kept(2, 2, 5)];
    let folder = Folder { closed, bytes: 100 };
    let plan = |room: u64| -> Vec<(u128, Vec<u64>, bool)> {
        let removals = folder.plan(now(), DAY * 90, room);
        let segments = |kept: Vec<Kept>| kept.iter().map(|kept| kept.segment).collect();
        removals.into_iter().map(|r| (r.chain.as_u128(), segments(r.segments), r.early)).collect()
    };
    assert_eq!(plan(100), [(1, vec![1, 2], false), (2, vec![1], false)]);
    assert_eq!(plan(70), [(1, vec![1, 2, 3], true), (2, vec![1], false)]);
    assert_eq!(plan(0), [(1, vec![1, 2, 3], true), (2, vec![1, 2], true)]);
    // An old one behind a younger one stays: nothing may be missing in between.
    let folder = Folder { closed: vec![kept(1, 1, 10), kept(1, 2, 100)], bytes: 20 };
    assert!(folder.plan(now(), DAY * 90, 100).is_empty());
}

#[test]
fn a_compressed_segment_is_the_same_and_as_old() {
    let bench = Bench::new();
    bench.fill(3);
    bench.age(&[30, 20, 10]);
    let closed = directory::list(bench.folder.path()).unwrap().closed;
    let before: Vec<_> = closed
        .iter()
        .map(|closed| (lines(&closed.path), fs::metadata(&closed.path).unwrap().modified().unwrap()))
        .collect();
    let [first, second] = [&closed[0].path, &closed[1].path].map(|path| path.to_str().unwrap().to_owned());
    // A crash has left half of a copy, and another one when the copy had its name already.
    fs::write(format!("{first}.zst.tmp"), b"half").unwrap();
    fs::write(format!("{second}.zst"), b"whole, or so it seems").unwrap();
    fs::write(bench.folder.path().join("gone.log.zst.tmp"), b"of a segment that is gone").unwrap();
    compress::all(bench.folder.path()).unwrap();
    let after = directory::list(bench.folder.path()).unwrap();
    assert_eq!((after.closed.len(), after.foreign.len()), (3, 0));
    for (closed, (text, modified)) in after.closed.iter().zip(&before) {
        assert!(closed.is_compressed());
        assert_eq!(&lines(&closed.path), text);
        assert_eq!(fs::metadata(&closed.path).unwrap().modified().unwrap(), *modified);
        assert!(fs::metadata(&closed.path).unwrap().len() < text.len() as u64);
    }
    let names = fs::read_dir(bench.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.into_iter().all(|name| !name.to_str().unwrap().ends_with(".zst.tmp")));
    compress::all(bench.folder.path()).unwrap();
}

#[actix::test]
async fn old_segments_go_once_the_log_has_said_so() {
    let bench = Bench::new();
    bench.fill(5);
    bench.age(&[200, 150, 100, 50, 10]);
    let (mut retention, status) = bench.retention();
    // Nothing is said, so nothing goes.
    bench.log.refuses.store(true, Ordering::SeqCst);
    retention.round().await;
    assert_eq!(bench.segments(), [1, 2, 3, 4, 5]);
    bench.log.refuses.store(false, Ordering::SeqCst);
    retention.round().await;
    assert_eq!((bench.segments(), bench.pruned()), (vec![4, 5], vec![3]));
    retention.round().await;
    assert_eq!((bench.segments(), bench.pruned()), (vec![4, 5], vec![3]));
    assert!(!status.short_of_room.load(Ordering::Relaxed));
    let before = bench.shelf.forgotten.lock().unwrap().unwrap();
    assert_eq!(before, now() - chrono::TimeDelta::days(90));
    // What the log says is what the next segment follows.
    let current = lines(&bench.folder.path().join(directory::CURRENT));
    let said: Vec<Value> = current
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Value>(line).ok())
        .filter(|line| line["event"] == about::PRUNED)
        .collect();
    assert_eq!((said.len(), &said[0]["segment"]), (1, &json!(3)));
    let next = lines(&Folder::look(bench.folder.path()).unwrap().closed[0].paths[0]);
    let header: Value = serde_json::from_slice(next.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
    assert_eq!((&header["prev"], &header["segment"]), (&said[0]["head"], &json!(4)));
    let first = Line::read(next.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
    assert_eq!(json!(first.seq - 1), said[0]["last_seq"]);
}

#[actix::test]
async fn after_a_crash_in_between_the_rest_goes_too() {
    let bench = Bench::new();
    bench.fill(4);
    compress::all(bench.folder.path()).unwrap();
    bench.age(&[200, 150, 100, 50]);
    let files: Vec<(PathBuf, Vec<u8>)> = Folder::look(bench.folder.path())
        .unwrap()
        .closed
        .iter()
        .map(|kept| (kept.paths[0].clone(), fs::read(&kept.paths[0]).unwrap()))
        .collect();
    let (mut retention, _) = bench.retention();
    retention.round().await;
    assert_eq!((bench.segments(), bench.pruned()), (vec![4], vec![3]));
    // As if it had ended after the first of three.
    for (path, bytes) in &files[1..3] {
        fs::write(path, bytes).unwrap();
    }
    bench.age(&[150, 100, 50]);
    let (mut retention, _) = bench.retention();
    retention.round().await;
    assert_eq!((bench.segments(), bench.pruned()), (vec![4], vec![3, 3]));
    let said = bench.log.pruned.lock().unwrap();
    assert_eq!(said[0], said[1]);
}

#[actix::test]
async fn what_the_database_does_not_vouch_for_stays() {
    let bench = Bench::new();
    bench.fill(4);
    bench.age(&[200, 200, 200, 200]);
    let anchors = std::mem::take(&mut *bench.shelf.anchors.lock().unwrap());
    let (mut retention, _) = bench.retention();
    retention.round().await;
    assert_eq!(bench.segments(), [1, 2, 3, 4]);
    // In the middle of the second.
    let middle = anchors.iter().find(|anchor| anchor.segment == 2).unwrap().clone();
    bench.shelf.anchors.lock().unwrap().push(middle);
    bench.shelf.away.store(true, Ordering::SeqCst);
    retention.round().await;
    assert_eq!(bench.segments(), [1, 2, 3, 4]);
    bench.shelf.away.store(false, Ordering::SeqCst);
    retention.round().await;
    assert_eq!((bench.segments(), bench.pruned()), (vec![2, 3, 4], vec![1]));
    // One that was edited is evidence.
    bench.shelf.anchors.lock().unwrap().extend(anchors);
    let path = Folder::look(bench.folder.path()).unwrap().closed.last().unwrap().paths[0].clone();
    let mut text = lines(&path);
    let at = text.len() / 2;
    text[at] ^= 1;
    fs::write(&path, zstd::encode_all(text.as_slice(), 3).unwrap()).unwrap();
    bench.age(&[200, 200, 200]);
    retention.round().await;
    assert_eq!((bench.segments(), bench.pruned()), (vec![4], vec![1, 3]));
}

#[actix::test]
async fn too_little_room_is_an_alert() {
    let mut bench = Bench::new();
    bench.fill(6);
    compress::all(bench.folder.path()).unwrap();
    bench.age(&[6, 5, 4, 3, 2, 1]);
    let size = || Folder::look(bench.folder.path()).unwrap().bytes;
    let all = size();
    bench.keeping.room = Some(all / 2);
    let (mut retention, status) = bench.retention();
    retention.round().await;
    let left = bench.segments();
    assert!(left.len() < 6 && left.last() == Some(&6), "{left:?}");
    assert!(status.short_of_room.load(Ordering::Relaxed));
    // It ends only when there is room to spare.
    retention.keeping_mut().room = Some(size() + 10);
    retention.round().await;
    assert!(status.short_of_room.load(Ordering::Relaxed));
    retention.keeping_mut().room = Some(size() * 2);
    retention.round().await;
    assert!(!status.short_of_room.load(Ordering::Relaxed));
    assert_eq!(bench.segments(), left);
}

fn event(number: usize) -> String {
    json!({"ts": now(), "event": "access_denied", "n": number}).to_string()
}

#[actix::test]
async fn a_database_that_was_away_gets_what_was_kept_and_the_count_of_the_rest() {
    let bench = Bench::new();
    bench.shelf.away.store(true, Ordering::SeqCst);
    let keeper = bench.keeper(watch::Sender::new(None).subscribe());
    let (sent, mut refused) = (WAITING_EVENTS + 2_000, 0);
    for number in 0..sent {
        let before = keeper.dropped();
        keeper.record(event(number));
        refused += usize::from(keeper.dropped() > before);
    }
    assert!(refused >= 1_500, "{refused}");
    // A flush does not wait for ever.
    keeper.flush().await;
    assert!(bench.shelf.attempts.load(Ordering::SeqCst) > 1);
    assert!(bench.shelf.records().is_empty());
    bench.shelf.away.store(false, Ordering::SeqCst);
    while keeper.waiting() > 0 {
        tokio::task::yield_now().await;
    }
    keeper.flush().await;
    let records = bench.shelf.records();
    let (told, kept): (Vec<&Value>, Vec<&Value>) =
        records.iter().partition(|record| record["event"] == "audit_events_dropped");
    assert_eq!(kept.len(), sent - refused);
    let told: u64 = told.iter().map(|record| record["count"].as_u64().unwrap()).sum();
    assert_eq!(told, refused as u64);
    assert!(kept.is_sorted_by_key(|record| record["n"].as_u64()));
}

#[actix::test]
async fn the_newest_checkpoint_gets_into_the_database() {
    let bench = Bench::new();
    bench.fill(2);
    let made = std::mem::take(&mut *bench.shelf.anchors.lock().unwrap());
    let anchors = watch::Sender::new(None);
    let keeper = bench.keeper(anchors.subscribe());
    assert_eq!((keeper.anchored_at(), keeper.unanchored_since()), (None, None));
    bench.shelf.away.store(true, Ordering::SeqCst);
    for anchor in &made {
        anchors.send_replace(Some(anchor.clone()));
    }
    assert_eq!(keeper.unanchored_since(), Some(now()));
    bench.shelf.away.store(false, Ordering::SeqCst);
    keeper.flush().await;
    assert_eq!((keeper.anchored_at(), keeper.unanchored_since()), (Some(now()), None));
    let kept = bench.shelf.anchors.lock().unwrap();
    assert_eq!(kept.last(), made.last());
    assert!(kept.len() < made.len(), "those in between are not needed");
}

/// A real database, which refuses what a trigger says.
struct Real(Database);

#[async_trait]
impl Shelf for Real {
    async fn add_events(&self, events: &[EventRow]) -> Result<(), StoreError> {
        self.0.add_events(events).await
    }

    async fn forget_events(&self, before: Time) -> Result<u64, StoreError> {
        self.0.forget_events(before).await
    }

    async fn anchor(&self, _: Uuid) -> Result<Option<Anchor>, StoreError> {
        Ok(None)
    }

    async fn put_anchor(&self, _: &str, _: &Anchor) -> Result<(), StoreError> {
        Ok(())
    }
}

#[actix::test]
async fn an_event_that_the_database_does_not_take_holds_up_no_other() {
    let bench = Bench::new();
    let file = bench.folder.path().join("test.db");
    let database = Database::open(Place::File(&file)).await.unwrap();
    let masters = MasterKeys::new(vec![SecretBytes::new(vec![7; 32])]).unwrap();
    database.open_deployment(&masters, now()).await.unwrap();
    let trigger = "CREATE TRIGGER t BEFORE INSERT ON audit_events WHEN new.actor = 'bad' \
                   BEGIN SELECT RAISE(ABORT, 'no'); END";
    database.connection_for_tests().execute_unprepared(trigger).await.unwrap();
    let around = Around {
        shelf: Arc::new(Real(database.clone())),
        ..bench.around(watch::Sender::new(None).subscribe())
    };
    let keeper = AuditKeeper::start(bench.keeping.clone(), around);
    for actor in ["a", "bad", "b"] {
        keeper.record(json!({"ts": now(), "event": "e", "actor": actor}).to_string());
    }
    keeper.record("no record at all".to_owned());
    keeper.flush().await;
    let kept = database.events(&EventFilter::default(), None, 10).await.unwrap();
    let mut kept: Vec<_> = kept.iter().map(|row| row.record().contains("\"a\"")).collect();
    kept.sort_unstable();
    assert_eq!(kept, [false, true]);
}
