//! Backups that a node makes while it serves: for whoever asks, and by a schedule.
//!
//! Each is made on a thread of its own with a connection of its own, so that it holds up no request; a node makes one at a time.

mod draft;
mod making;
mod schedule;

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use actix_web::web::Bytes;
use chrono::{DateTime, Utc};
use claviger_actors::{
    alerts::Scheduled,
    backup::{BackupError, Lock, Made},
    keyring::Epoch,
};
use claviger_config::Settings;
use tokio::sync::{Semaphore, mpsc};

pub use draft::Draft;
use making::{Making, Source};
pub(crate) use schedule::keep;

use crate::http::state::AppState;

/// Pieces that wait for whoever reads them.
const PIECES: usize = 4;

/// The backups of this node.
pub struct Backups {
    source: Source,
    lock: Option<Lock>,
    one: Arc<Semaphore>,
    tally: Arc<Tally>,
    /// How the schedule is kept.
    standing: Mutex<Option<Scheduled>>,
}

/// What is counted.
#[derive(Default)]
struct Tally {
    made: AtomicU64,
    failed: AtomicU64,
    /// Of the last one that was made, in milliseconds since the epoch; zero = none.
    last_at: AtomicI64,
    last_bytes: AtomicU64,
    last_rows: AtomicU64,
    last_epoch: AtomicU64,
    /// The last one that any node has finished by the schedule, in milliseconds; zero = none is known.
    scheduled_at: AtomicI64,
}

/// What is counted, for whoever watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Made by this node.
    pub made: u64,
    /// Begun by this node and not made.
    pub failed: u64,
    /// When this node made its last one.
    pub last_at: Option<DateTime<Utc>>,
    /// Bytes of it.
    pub last_bytes: u64,
    /// Rows of it.
    pub last_rows: u64,
    /// When the last one by the schedule was finished, on whatever node.
    pub scheduled_at: Option<DateTime<Utc>>,
    /// One is being made.
    pub running: bool,
}

impl Backups {
    /// As the settings say.
    ///
    /// # Errors
    /// The recipient is none.
    pub fn new(settings: &Settings) -> Result<Self, BackupError> {
        let recipients = &settings.backup.recipients;
        let lock = if recipients.is_empty() {
            None
        } else {
            Some(Lock::recipients(recipients.iter().map(String::as_str))?)
        };
        let source = Source::new(settings);
        Ok(Self {
            source,
            lock,
            one: Arc::new(Semaphore::new(1)),
            tally: Arc::default(),
            standing: Mutex::default(),
        })
    }

    /// To whom backups are encrypted unless said otherwise.
    #[must_use]
    pub const fn lock(&self) -> Option<&Lock> {
        self.lock.as_ref()
    }

    /// How the schedule is kept, as far as it is known; `None` = there is none.
    #[must_use]
    pub fn standing(&self) -> Option<Scheduled> {
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keeps(&self, standing: Option<Scheduled>) {
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = standing;
    }

    /// What is counted.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let tally = &self.tally;
        let time = |at: &AtomicI64| {
            let at = at.load(Ordering::Relaxed);
            (at > 0).then(|| DateTime::from_timestamp_millis(at)).flatten()
        };
        Figures {
            made: tally.made.load(Ordering::Relaxed),
            failed: tally.failed.load(Ordering::Relaxed),
            last_at: time(&tally.last_at),
            last_bytes: tally.last_bytes.load(Ordering::Relaxed),
            last_rows: tally.last_rows.load(Ordering::Relaxed),
            scheduled_at: time(&tally.scheduled_at),
            running: self.one.available_permits() == 0,
        }
    }

    /// Epoch of the last one that this node has made.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        Epoch(self.tally.last_epoch.load(Ordering::Relaxed))
    }

    /// Begins a backup; its pieces come in order, and after an error none. `None` while another one is made.
    #[must_use]
    pub fn stream(&self, state: &AppState, lock: Lock) -> Option<mpsc::Receiver<io::Result<Bytes>>> {
        let permit = Arc::clone(&self.one).try_acquire_owned().ok()?;
        let (sender, pieces) = mpsc::channel(PIECES);
        let making = Making {
            source: self.source.clone(),
            keychain: Arc::clone(state.ring.snapshot().keychain()),
            lock,
            now: state.clock.now(),
            tally: Arc::clone(&self.tally),
            permit,
        };
        making.start(sender);
        Some(pieces)
    }
}

impl Tally {
    fn done(&self, made: &Made) {
        self.last_at.store(made.header.made_at.timestamp_millis(), Ordering::Relaxed);
        self.last_bytes.store(made.bytes, Ordering::Relaxed);
        self.last_rows.store(made.rows, Ordering::Relaxed);
        self.last_epoch.store(made.header.epoch.0, Ordering::Relaxed);
        self.made.fetch_add(1, Ordering::Relaxed);
    }
}
