//! The log against a real folder: what is written, what is lost, and how it goes on.

use std::{fs, path::Path, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    about::{self, Anchor},
    directory,
    group::Records,
    line::Line,
    log::{Log, Options},
    resume::chain_in,
    scan,
    signed::{Signer as _, Verifier, tests::OwnKey},
};

struct Bench {
    folder: TempDir,
    key: Arc<OwnKey>,
    now: DateTime<Utc>,
}

impl Bench {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            key: Arc::default(),
            now: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn current(&self) -> std::path::PathBuf {
        self.path().join(directory::CURRENT)
    }

    fn options(&self) -> Options {
        Options {
            directory: self.path().to_owned(),
            node: "n1".to_owned(),
            version: "0".to_owned(),
            level: "full",
            segment_bytes: 4_096,
            checkpoint_lines: 10,
            checkpoint_interval: Duration::from_secs(5),
            sync: false,
        }
    }

    fn open(&self, known: Option<Anchor>) -> Log {
        Log::open(self.options(), Arc::clone(&self.key) as Arc<_>, known, self.now).unwrap()
    }

    fn append(&self, log: &mut Log, numbers: std::ops::Range<u64>) -> Option<Anchor> {
        log.append(records(self.now, numbers).iter(), self.now).unwrap()
    }

    /// Every line of the chain, in order, having followed it.
    fn lines(&self) -> Vec<Value> {
        let contents = directory::list(self.path()).unwrap();
        let mut files: Vec<_> = contents.closed.iter().map(|closed| closed.path.clone()).collect();
        files.extend(contents.current);
        let mut lines = Vec::new();
        for file in files {
            let scan = scan::scan(&file, &[]).unwrap().unwrap();
            assert!(!scan.broken && scan.torn == 0, "{}", file.display());
            let text = fs::read_to_string(file).unwrap();
            lines.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        }
        lines
    }

    fn numbers(&self) -> Vec<u64> {
        self.lines().iter().filter_map(|line| line["n"].as_u64()).collect()
    }
}

fn records(now: DateTime<Utc>, numbers: std::ops::Range<u64>) -> Records {
    let mut records = Records::default();
    for n in numbers {
        records.push(&json!({ "ts": now, "event": "encrypt", "n": n }), 1_000).unwrap();
    }
    records
}

#[test]
fn lines_are_chained_over_segments_and_signed() {
    let bench = Bench::new();
    let mut log = bench.open(None);
    let mut anchor = None;
    for round in 0..20 {
        anchor = bench.append(&mut log, round * 7..round * 7 + 7).or(anchor);
    }
    assert_eq!(bench.numbers(), (0..140).collect::<Vec<_>>());
    let lines = bench.lines();
    assert_eq!(
        lines.iter().map(|line| line["seq"].as_u64().unwrap()).collect::<Vec<_>>(),
        (1..=lines.len() as u64).collect::<Vec<_>>()
    );
    assert!(directory::list(bench.path()).unwrap().closed.len() > 2);
    let verifier = Verifier::from_jwk(&bench.key.signing().unwrap().jwk).unwrap();
    let anchor = anchor.unwrap();
    assert!(anchor.is_signed_by(&verifier));
    assert_eq!(directory::anchor(bench.path()).unwrap().unwrap(), anchor);
    assert!(lines.iter().filter(|line| line["event"] == about::CHECKPOINT).count() >= 14);
}

#[test]
fn a_chain_goes_on_after_a_restart_wherever_it_was_cut_off() {
    let bench = Bench::new();
    let mut log = bench.open(None);
    bench.append(&mut log, 0..5);
    let chain = log.chain();
    drop(log);
    let whole = fs::read(bench.current()).unwrap();
    for torn in [&b""[..], b"{", b"{\"seq\":99,\"ts\":\"x"] {
        fs::write(bench.current(), [&whole, torn].concat()).unwrap();
        assert_eq!(chain_in(bench.path()), Some(chain));
        let mut log = bench.open(None);
        assert_eq!(log.chain(), chain);
        bench.append(&mut log, 5..6);
        assert_eq!(bench.numbers(), (0..6).collect::<Vec<_>>());
        let recovered = bench.lines().iter().filter(|line| line["event"] == about::RECOVERED).count();
        assert_eq!(recovered, usize::from(!torn.is_empty()));
    }
    // Put aside, and no other begun yet.
    fs::write(bench.current(), &whole).unwrap();
    fs::rename(bench.current(), directory::closed(bench.path(), chain, 1)).unwrap();
    let mut log = bench.open(None);
    bench.append(&mut log, 5..7);
    assert_eq!((log.chain(), log.segment()), (chain, 2));
    assert_eq!(bench.numbers(), (0..7).collect::<Vec<_>>());
    // The next one made, and its first line not written, or half of it.
    fs::rename(bench.current(), directory::closed(bench.path(), chain, 2)).unwrap();
    for half in [&b""[..], b"{\"seq\":11,"] {
        fs::write(bench.current(), half).unwrap();
        let mut log = bench.open(None);
        assert!(!bench.current().exists());
        bench.append(&mut log, 7..8);
        assert_eq!((log.chain(), log.segment()), (chain, 3));
        assert_eq!(bench.numbers(), (0..8).collect::<Vec<_>>());
        fs::remove_file(bench.current()).unwrap();
        let _none_yet = fs::remove_file(bench.path().join(directory::ANCHOR));
    }
}

#[test]
fn a_log_that_is_not_what_it_was_is_left_alone() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 5] = [
        ("edited", |file| {
            let text = fs::read_to_string(file).unwrap().replace("\"n\":3", "\"n\":4");
            fs::write(file, text).unwrap();
        }),
        ("shorter than its checkpoint", |file| {
            let text = fs::read_to_string(file).unwrap();
            let kept: Vec<_> = text.split_inclusive('\n').take(4).collect();
            fs::write(file, kept.concat()).unwrap();
        }),
        ("missing", |file| fs::remove_file(file).unwrap()),
        ("unreadable", |file| fs::write(file, b"nothing\n").unwrap()),
        ("shorter than its checkpoint", |file| {
            fs::write(file.with_file_name(directory::ANCHOR), b"{}\n").unwrap();
        }),
    ];
    for (reason, damage) in damages {
        let bench = Bench::new();
        let mut log = bench.open(None);
        bench.append(&mut log, 0..12);
        let chain = log.chain();
        drop(log);
        damage(&bench.current());
        let damaged = fs::read(bench.current()).ok();
        let mut log = bench.open(None);
        assert_ne!(log.chain(), chain, "{reason}");
        bench.append(&mut log, 20..21);
        let text = fs::read_to_string(bench.current()).unwrap();
        let said = text.lines().nth(1).map(|line| serde_json::from_str::<Value>(line).unwrap()).unwrap();
        assert_eq!((&said["event"], &said["reason"]), (&json!(about::BROKEN), &json!(reason)));
        let contents = directory::list(bench.path()).unwrap();
        let kept = contents.closed.iter().map(|closed| &closed.path).chain(&contents.foreign);
        assert_eq!(kept.map(|path| fs::read(path).unwrap()).next(), damaged, "{reason}");
    }
}

#[test]
fn the_checkpoint_kept_elsewhere_is_held_against_the_folder() {
    let bench = Bench::new();
    let mut log = bench.open(None);
    let first = bench.append(&mut log, 0..12);
    let chain = log.chain();
    let before = fs::read(bench.current()).unwrap();
    let later = bench.append(&mut log, 12..30).unwrap();
    drop(log);
    assert_eq!(bench.open(first).chain(), chain);
    assert_eq!(bench.open(Some(later.clone())).chain(), chain);
    // Everything in the folder is as it was at some time before.
    fs::write(bench.current(), before).unwrap();
    fs::remove_file(bench.path().join(directory::ANCHOR)).unwrap();
    assert_eq!(bench.open(None).chain(), chain);
    assert_ne!(bench.open(Some(later)).chain(), chain);
}

#[test]
fn a_file_that_is_taken_away_or_edited_is_noticed_and_nothing_is_answered_for_it() {
    type Damage = fn(&Path);
    let damages: [Damage; 5] = [
        |file| fs::remove_file(file).unwrap(),
        |file| {
            fs::remove_file(file).unwrap();
            fs::write(file, b"").unwrap();
        },
        |file| fs::write(file, b"").unwrap(),
        |file| fs::rename(file, file.with_file_name("elsewhere")).unwrap(),
        |file| fs::remove_dir_all(file.parent().unwrap()).unwrap(),
    ];
    for damage in damages {
        let mut bench = Bench::new();
        let mut log = bench.open(None);
        bench.append(&mut log, 0..3);
        damage(&bench.current());
        bench.now += TimeDelta::seconds(1);
        assert!(log.append(records(bench.now, 9..10).iter(), bench.now).is_err());
        bench.append(&mut log, 3..5);
        let text = fs::read_to_string(bench.current()).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let events: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
        assert_eq!(events, [about::SEGMENT, about::LOST, "encrypt", "encrypt"]);
        assert_eq!(lines[1]["last_seq"], 4);
        assert_eq!(lines[0]["seq"], 5);
        damage(&bench.current());
        assert!(log.tick(bench.now).is_err(), "noticed without anybody writing");
        log.checkpoint(bench.now).unwrap().unwrap();
    }
}

#[test]
fn an_error_costs_the_group_and_nothing_else() {
    let bench = Bench::new();
    let mut log = bench.open(None);
    bench.append(&mut log, 0..2);
    let current = log.current.as_mut().unwrap();
    // What a full disk leaves: half of a group.
    current.torn = true;
    let mut file = &current.file;
    std::io::Write::write_all(&mut file, b"{\"seq\":4,\"ts\":").unwrap();
    bench.append(&mut log, 2..4);
    assert_eq!(bench.numbers(), [0, 1, 2, 3]);
    // Not even a segment can begin.
    let elsewhere = Bench::new();
    let blocked = elsewhere.path().join("blocked");
    fs::write(&blocked, b"").unwrap();
    let options = Options { directory: blocked.clone(), ..elsewhere.options() };
    assert!(Log::open(options.clone(), Arc::clone(&elsewhere.key) as Arc<_>, None, elsewhere.now).is_err());
    fs::remove_file(&blocked).unwrap();
    let mut log = Log::open(options, Arc::clone(&elsewhere.key) as Arc<_>, None, elsewhere.now).unwrap();
    fs::write(&blocked, b"").unwrap();
    assert!(log.append(records(elsewhere.now, 0..1).iter(), elsewhere.now).is_err());
    fs::remove_file(&blocked).unwrap();
    log.append(records(elsewhere.now, 0..1).iter(), elsewhere.now).unwrap();
    assert_eq!(fs::read_to_string(blocked.join(directory::CURRENT)).unwrap().lines().count(), 2);
}

#[test]
fn a_new_key_or_level_begins_a_segment() {
    let bench = Bench::new();
    let mut log = bench.open(None);
    bench.append(&mut log, 0..1);
    drop(log);
    let options = Options { level: "control", ..bench.options() };
    let other: Arc<OwnKey> = Arc::default();
    let mut log = Log::open(options.clone(), Arc::clone(&bench.key) as Arc<_>, None, bench.now).unwrap();
    bench.append(&mut log, 1..2);
    assert_eq!(log.segment(), 2);
    drop(log);
    let mut log = Log::open(options, Arc::clone(&other) as Arc<_>, None, bench.now).unwrap();
    bench.append(&mut log, 2..3);
    assert_eq!(log.segment(), 3);
    assert_eq!(bench.numbers(), [0, 1, 2]);
}

#[test]
fn the_time_between_checkpoints_is_bounded() {
    let mut bench = Bench::new();
    let mut log = bench.open(None);
    assert_eq!(bench.append(&mut log, 0..1), None);
    bench.now += TimeDelta::seconds(6);
    let anchor = bench.append(&mut log, 1..2).unwrap();
    assert_eq!(log.checkpoint(bench.now).unwrap(), None, "nothing new");
    bench.append(&mut log, 2..3);
    let next = log.checkpoint(bench.now).unwrap().unwrap();
    assert!(next.seq > anchor.seq);
    let text = fs::read_to_string(bench.current()).unwrap();
    let last = Line::read(text.lines().last().unwrap().as_bytes()).unwrap();
    assert_eq!((last.seq, last.hash), (next.seq, next.hash));
}
