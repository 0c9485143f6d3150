//! A log in a folder of its own, and a database that comes and goes.

use std::{
    fs::File,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize},
    },
    time::SystemTime,
};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{plan::Folder, retention::Retention, *};
use crate::{
    audit::{
        directory,
        group::Records,
        log::{Log, Options},
        signed::tests::OwnKey,
    },
    clock::VirtualClock,
};

pub(super) const DAY: Duration = Duration::from_secs(24 * 3_600);

pub(super) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

/// A database that may be away.
#[derive(Default)]
pub(super) struct Fake {
    pub(super) away: AtomicBool,
    pub(super) attempts: AtomicUsize,
    pub(super) events: Mutex<Vec<EventRow>>,
    pub(super) anchors: Mutex<Vec<Anchor>>,
    pub(super) forgotten: Mutex<Option<Time>>,
}

impl Fake {
    pub(super) fn answer(&self) -> Result<(), StoreError> {
        self.attempts.fetch_add(1, Ordering::SeqCst);
        if self.away.load(Ordering::SeqCst) { Err(StoreError::Late) } else { Ok(()) }
    }

    pub(super) fn records(&self) -> Vec<Value> {
        let events = self.events.lock().unwrap();
        events.iter().map(|event| serde_json::from_str(event.record()).unwrap()).collect()
    }
}

#[async_trait]
impl Shelf for Fake {
    async fn add_events(&self, events: &[EventRow]) -> Result<(), StoreError> {
        self.answer()?;
        assert!(events.len() <= 201, "{}", events.len());
        self.events.lock().unwrap().extend_from_slice(events);
        Ok(())
    }

    async fn forget_events(&self, before: Time) -> Result<u64, StoreError> {
        self.answer()?;
        *self.forgotten.lock().unwrap() = Some(before);
        Ok(0)
    }

    async fn anchor(&self, chain: Uuid) -> Result<Option<Anchor>, StoreError> {
        self.answer()?;
        Ok(self.anchors.lock().unwrap().iter().rfind(|anchor| anchor.chain == chain).cloned())
    }

    async fn put_anchor(&self, node: &str, anchor: &Anchor) -> Result<(), StoreError> {
        self.answer()?;
        assert_eq!(node, "n1");
        self.anchors.lock().unwrap().push(anchor.clone());
        Ok(())
    }
}

/// A log whose removals can be refused.
pub(super) struct Bench {
    pub(super) folder: TempDir,
    pub(super) log: Arc<Writer>,
    pub(super) shelf: Arc<Fake>,
    pub(super) clock: Arc<VirtualClock>,
    pub(super) keeping: Keeping,
}

pub(super) struct Writer {
    pub(super) log: Mutex<Log>,
    pub(super) refuses: AtomicBool,
    pub(super) pruned: Mutex<Vec<Prunable>>,
}

#[async_trait]
impl Prune for Writer {
    async fn prune(&self, prunable: Prunable) -> io::Result<()> {
        if self.refuses.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.log.lock().unwrap().prune(&prunable, now())?;
        self.pruned.lock().unwrap().push(prunable);
        Ok(())
    }
}

impl Bench {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            directory: folder.path().to_owned(),
            node: "n1".to_owned(),
            version: "0".to_owned(),
            level: "full",
            segment_bytes: 4_096,
            checkpoint_lines: 10,
            checkpoint_interval: Duration::from_secs(3_600),
            sync: false,
        };
        let log = Log::open(options, Arc::<OwnKey>::default(), None, now()).unwrap();
        let log = Writer { log: Mutex::new(log), refuses: AtomicBool::default(), pruned: Mutex::default() };
        let mut keeping = Keeping::new(folder.path().to_owned(), "n1".to_owned());
        keeping.retry = Duration::from_millis(1);
        keeping.batch_interval = Duration::from_millis(1);
        keeping.anchor_interval = Duration::from_millis(1);
        keeping.room = Some(u64::MAX);
        Self {
            folder,
            log: Arc::new(log),
            shelf: Arc::default(),
            clock: Arc::new(VirtualClock::new(now())),
            keeping,
        }
    }

    /// Writes until there are so many closed segments; the last checkpoint is in the database.
    pub(super) fn fill(&self, segments: usize) {
        let mut log = self.log.log.lock().unwrap();
        while directory::list(self.folder.path()).unwrap().closed.len() < segments {
            let mut records = Records::default();
            for _ in 0..10 {
                records.push(&json!({"ts": now(), "event": "encrypt", "key": "k"}), 1_000).unwrap();
            }
            let anchor = log.append(records.iter(), now()).unwrap();
            self.shelf.anchors.lock().unwrap().extend(anchor);
        }
    }

    pub(super) fn around(&self, anchors: watch::Receiver<Option<Anchor>>) -> Around {
        let (shelf, prune) = (Arc::clone(&self.shelf) as Arc<_>, Arc::clone(&self.log) as Arc<_>);
        Around { shelf, prune, anchors, clock: Arc::clone(&self.clock) as Arc<_> }
    }

    pub(super) fn retention(&self) -> (Retention, Arc<Status>) {
        let status = Arc::new(Status {
            dropped: AtomicU64::new(0),
            untold: AtomicU64::new(0),
            short_of_room: AtomicBool::new(false),
            anchored: watch::Sender::new(None),
        });
        let around = self.around(watch::Sender::new(None).subscribe());
        (Retention::new((self.keeping.clone(), around, Arc::clone(&status))), status)
    }

    pub(super) fn keeper(&self, anchors: watch::Receiver<Option<Anchor>>) -> AuditKeeper {
        AuditKeeper::start(self.keeping.clone(), self.around(anchors))
    }

    /// Sets the age of closed segments, oldest first.
    pub(super) fn age(&self, days: &[u32]) {
        for (kept, days) in Folder::look(self.folder.path()).unwrap().closed.iter().zip(days) {
            for path in &kept.paths {
                let file = File::options().append(true).open(path).unwrap();
                file.set_modified(SystemTime::from(now()) - DAY * *days).unwrap();
            }
        }
    }

    pub(super) fn segments(&self) -> Vec<u64> {
        Folder::look(self.folder.path()).unwrap().closed.iter().map(|kept| kept.segment).collect()
    }

    pub(super) fn pruned(&self) -> Vec<u64> {
        self.log.pruned.lock().unwrap().iter().map(|prunable| prunable.segment).collect()
    }
}
