//! Logs that are whole, and logs that are not.

#![expect(clippy::print_stdout, reason = "the counts are what one wants to see with --no-capture")]

mod damages;
mod live;
mod rewritten;
mod speed;
mod tamper;
mod whole;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

use super::{super::signed::tests::OwnKey, Report, Trust, verify};
use crate::audit::{
    about::{Anchor, Prunable},
    directory,
    group::Records,
    line::{self, Line},
    log::{Log, Options},
    scan,
};

/// A folder and the one who writes there.
struct Bench {
    folder: TempDir,
    key: Arc<OwnKey>,
    now: DateTime<Utc>,
    level: &'static str,
    log: Option<Log>,
    count: u64,
    segment_bytes: u64,
}

impl Bench {
    fn new(segment_bytes: u64) -> Self {
        let mut bench = Self {
            folder: tempfile::tempdir().unwrap(),
            key: Arc::default(),
            now: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
            level: "full",
            log: None,
            count: 0,
            segment_bytes,
        };
        bench.restart();
        bench
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn restart(&mut self) {
        self.log = None;
        let options = Options {
            directory: self.path().to_owned(),
            node: "n1".to_owned(),
            version: "0".to_owned(),
            level: self.level,
            segment_bytes: self.segment_bytes,
            checkpoint_lines: 25,
            checkpoint_interval: Duration::from_secs(5),
            sync: false,
        };
        self.log = Some(Log::open(options, Arc::clone(&self.key) as Arc<_>, None, self.now).unwrap());
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().unwrap()
    }

    /// Records, one group.
    fn append(&mut self, records: u64) {
        let mut group = Records::default();
        for _ in 0..records {
            self.count += 1;
            let record = json!({ "ts": self.now, "event": "encrypt", "actor": "app", "key": "orders", "version": 1, "n": self.count });
            group.push(&record, 1_000).unwrap();
        }
        self.now += TimeDelta::milliseconds(7);
        let now = self.now;
        self.log().append(group.iter(), now).unwrap();
    }

    fn checkpoint(&mut self) {
        let now = self.now;
        self.log().checkpoint(now).unwrap();
    }

    fn closed(&self) -> Vec<directory::Closed> {
        directory::list(self.path()).unwrap().closed
    }

    /// Packs a closed segment.
    fn pack(&self, path: &Path) {
        self.pack_beside(path);
        fs::remove_file(path).unwrap();
    }

    /// Packs one and leaves it there. The time of its last line goes with it: a start looks for the segment that was written last.
    fn pack_beside(&self, path: &Path) {
        let mut file = fs::File::open(path).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        let draft = path.with_extension("log.zst.tmp");
        let packed = fs::File::create(&draft).unwrap();
        zstd::stream::copy_encode(&mut file, &packed, 1).unwrap();
        packed.set_modified(modified).unwrap();
        // Whoever reads at this moment sees all of it or nothing.
        fs::rename(draft, path.with_extension("log.zst")).unwrap();
    }

    /// Says that the oldest segments are removed; answers with their files, which are still there.
    fn prune(&mut self, segments: usize) -> Vec<PathBuf> {
        let chain = self.log().chain();
        self.prune_of(chain, segments)
    }

    fn prune_of(&mut self, chain: Uuid, segments: usize) -> Vec<PathBuf> {
        let closed: Vec<_> =
            self.closed().into_iter().filter(|closed| closed.chain == chain).take(segments).collect();
        let Some(last) = closed.last() else { return Vec::new() };
        let scan = scan::scan(&last.path, &[]).unwrap().unwrap();
        let prunable = Prunable { chain, segment: last.segment, last_seq: scan.last_seq, head: scan.head };
        let now = self.now;
        self.log().prune(&prunable, now).unwrap();
        closed.into_iter().map(|closed| closed.path).collect()
    }

    /// Several segments, some packed, some removed, everything signed.
    fn filled(groups: u64) -> Self {
        let mut bench = Self::new(16 << 10);
        for group in 0..groups {
            bench.append(group % 7 + 1);
        }
        for path in bench.prune(2) {
            fs::remove_file(path).unwrap();
        }
        bench.append(3);
        for closed in bench.closed().iter().step_by(2) {
            bench.pack(&closed.path);
        }
        bench.checkpoint();
        bench
    }

    fn verify(&self) -> Report {
        verified(self.path(), &Trust::default())
    }
}

fn verified(directory: &Path, trust: &Trust) -> Report {
    verify(directory, trust, |done, total| assert!(done <= total)).unwrap()
}

/// The files of a folder, by name.
#[derive(Clone, PartialEq)]
struct Files(BTreeMap<String, Vec<u8>>);

impl Files {
    fn of(directory: &Path) -> Self {
        let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        Self(files.map(|path| (name(&path), fs::read(&path).unwrap())).collect())
    }

    fn written(&self) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in &self.0 {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        folder
    }

    fn verify(&self, trust: &Trust) -> Report {
        verified(self.written().path(), trust)
    }

    /// Segments in order, the open one last.
    fn segments(&self) -> Vec<String> {
        let mut names: Vec<_> = self.0.keys().filter(|name| *name != directory::ANCHOR).cloned().collect();
        // `audit-` comes before `audit.`.
        names.sort();
        names
    }

    /// What is in a file, unpacked; `None` where that is not possible any more.
    fn text(&self, name: &str) -> Option<Vec<u8>> {
        let bytes = &self.0[name];
        if name.ends_with(".zst") { zstd::decode_all(&bytes[..]).ok() } else { Some(bytes.clone()) }
    }

    fn lines(&self, name: &str) -> Vec<String> {
        let text = String::from_utf8(self.text(name).unwrap()).unwrap();
        text.split_inclusive('\n').map(str::to_owned).collect()
    }

    fn put(&mut self, name: &str, lines: &[String]) {
        let text = lines.concat().into_bytes();
        let bytes = if name.ends_with(".zst") { zstd::encode_all(&text[..], 1).unwrap() } else { text };
        self.0.insert(name.to_owned(), bytes);
    }

    fn edit(&mut self, name: &str, edit: impl FnOnce(&mut Vec<String>)) {
        let mut lines = self.lines(name);
        edit(&mut lines);
        self.put(name, &lines);
    }

    /// The same lines, whatever they are packed in.
    fn is_same(&self, other: &Self) -> bool {
        self.0.keys().eq(other.0.keys()) && self.0.keys().all(|name| self.text(name) == other.text(name))
    }

    /// Makes every hash fit again from a line of a segment on, as everyone can; signatures nobody can.
    fn rechain(&mut self, from: &str) {
        let names: Vec<_> = self.segments().into_iter().skip_while(|name| name != from).collect();
        let mut head = None;
        let mut last = None;
        for name in names {
            let mut lines = self.lines(&name);
            for line in &mut lines {
                let value: serde_json::Value = serde_json::from_str(line).unwrap();
                let text = |member: &str| value[member].as_str().unwrap_or_default().to_owned();
                let old = if value["event"] == "audit_segment" { text("prev") } else { text("head") };
                let before = head.unwrap_or_else(|| line::head(text("prev").as_bytes()).unwrap());
                let content = line.rsplit_once(",\"hash\":").unwrap().0;
                let is_place = value["event"] == "audit_segment" || value["event"] == "audit_checkpoint";
                let content =
                    if is_place { content.replace(&old, &line::text(&before)) } else { content.to_owned() };
                let hash = line::link(&before, content.as_bytes());
                *line = format!("{content},\"hash\":\"{}\"}}\n", line::text(&hash));
                if value["event"] == "audit_checkpoint" {
                    last = Some(line.clone());
                }
                head = Some(hash);
            }
            self.put(&name, &lines);
        }
        self.0.insert(directory::ANCHOR.to_owned(), last.unwrap().into_bytes());
    }

    /// A line that follows another.
    fn following(line: &str) -> String {
        let read = Line::read(line.trim_end().as_bytes()).unwrap();
        let mut bytes = Vec::new();
        line::open(
            read.seq + 1,
            b"\"ts\":\"2027-01-15T08:00:00Z\",\"event\":\"encrypt\",\"key\":\"forged\"",
            &mut bytes,
        );
        line::close(&read.hash, &mut bytes, 0);
        String::from_utf8(bytes).unwrap()
    }

    /// Every checkpoint, in order.
    fn checkpoints(&self) -> Vec<Anchor> {
        let lines = self.segments().into_iter().flat_map(|name| self.lines(&name));
        lines.filter_map(|line| Anchor::read(line.trim_end())).collect()
    }
}
