//! The door to what is known of tokens after their issue.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Mutex, Semaphore, SemaphorePermit, watch};
use uuid::Uuid;

use super::{
    figures::{Figures, Outcome, Tally},
    keeper::TokenKeeper,
    mark::{Mark, Marker},
    revocations::{Facts, LIVE_MAX, Revocation, Revocations},
    telling::Telling,
};
use crate::{
    audit::{AuditRecord, Subject, event_of},
    clock::{Clock as _, ClusterClock},
    keyring::{ChangeContext, KeyRingHandle, Snapshot, internal, record::Time},
    seal::Keychain,
    store::{Database, FeedPage, FeedReading, FeedSight, StoreError},
};

/// Changes that may wait for the database; beyond it callers are refused.
const WAITING: usize = 1_024;
/// How far before the last look the feed is read again when something went wrong since: longer than any transaction may last.
const OVERLAP_MS: i64 = 300_000;
/// Rows of the feed that are read at once.
const PAGE: u64 = 5_000;
/// How long one poll reads them; whatever is left is read by the next one, from where this one stopped.
const READ_MAX: Duration = Duration::from_secs(2);

/// Revokes and refreshes tokens, and knows which are revoked. Cheap to clone.
#[derive(Clone)]
pub struct TokensHandle(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) ring: KeyRingHandle,
    pub(super) clock: Arc<ClusterClock>,
    pub(super) revocations: Revocations,
    pub(super) tally: Tally,
    marker: OnceLock<Marker>,
    node: String,
    permits: Semaphore,
    /// Counts revocations that this node has made.
    made: watch::Sender<u64>,
    /// Counts revocations that have come to be known here, whoever made them.
    heard: watch::Sender<u64>,
    /// Who tells of them.
    teller: OnceLock<Teller>,
    /// From where the feed is read.
    horizon: AtomicI64,
    /// When it was last read, in milliseconds.
    read_at: AtomicI64,
    /// The database was not reached since, or did not say whether it took something.
    is_doubtful: AtomicBool,
    /// The reading under way.
    reading: Mutex<Option<Reading>>,
    /// Revocations that there may be.
    max: AtomicUsize,
}

/// A reading of the feed that takes more than one poll.
struct Reading {
    feed: FeedReading,
    /// When the poll that began it had asked, as uptime: once it is over, all that was revoked by then is known.
    asked: Duration,
    /// The same moment by the clock, in milliseconds.
    at: i64,
}

/// Tells whoever listens of a revocation.
type Teller = Box<dyn Fn(&[Telling]) + Send + Sync>;

/// What a node has read of revocations before it serves.
pub(crate) struct Loaded {
    revocations: Revocations,
    horizon: i64,
    damaged: u64,
    at: i64,
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum TokenFailure {
    /// Too many changes wait.
    #[error("too many changes of tokens are waiting; try again")]
    Overloaded,
    /// There are as many revocations as a node can hold.
    #[error(
        "there are as many live revocations as tokens.max_revocations allows; revoke a subject or a kid, or suspend the key"
    )]
    Full,
    /// There are as many of one key as are left to all others.
    #[error(
        "this key has as many live revocations as are left to all other keys; revoke by kid, or let somebody with token.revoke_any revoke"
    )]
    Crowded,
    /// The database did not take the change, or may have.
    #[error("the database did not confirm the change; try again with the same Idempotency-Key")]
    Storage(#[source] StoreError),
    /// A primitive failed, or the key that hashes is quarantined.
    #[error("a cryptographic primitive failed")]
    Primitive,
}

impl Loaded {
    /// None at all: for who serves nobody.
    pub(crate) fn none() -> Self {
        Self { revocations: Revocations::default(), horizon: 0, damaged: 0, at: 0 }
    }

    /// Reads all that are live.
    pub(crate) async fn read(
        database: &Database,
        keychain: &Keychain,
        clock: &ClusterClock,
    ) -> Result<Self, StoreError> {
        let (revocations, now) = (Revocations::default(), clock.now());
        let feed = database.load_revocations(keychain, now, |revocation| {
            revocations.add(&revocation);
        });
        let feed = feed.await?;
        Ok(Self { revocations, horizon: feed.horizon, damaged: feed.damaged, at: now.timestamp_millis() })
    }
}

impl TokensHandle {
    /// Starts with what was loaded.
    pub(crate) fn start(
        ring: KeyRingHandle,
        loaded: Loaded,
        (clock, node): (Arc<ClusterClock>, String),
    ) -> Self {
        let Loaded { revocations, horizon, damaged, at } = loaded;
        let shared = Arc::new(Shared {
            ring,
            clock,
            revocations,
            tally: Tally::default(),
            marker: OnceLock::new(),
            node,
            permits: Semaphore::new(WAITING),
            made: watch::channel(0).0,
            heard: watch::channel(0).0,
            teller: OnceLock::new(),
            horizon: horizon.into(),
            read_at: at.into(),
            is_doubtful: false.into(),
            reading: Mutex::default(),
            max: LIVE_MAX.into(),
        });
        shared.tally.damaged.fetch_add(damaged, Ordering::Relaxed);
        TokenKeeper::keep(Arc::clone(&shared));
        Self(shared)
    }

    /// Sets how many revocations there may be.
    pub fn allow(&self, max: usize) {
        self.0.max.store(max, Ordering::Relaxed);
    }

    /// A token is revoked, by itself or with others. From memory; what another node has revoked is known as soon as the feed was read.
    #[must_use]
    pub fn is_revoked(&self, snapshot: &Snapshot, facts: &Facts<'_>, now: Time) -> bool {
        if !self.knows_any() {
            return false;
        }
        // Without the key that hashes nobody can tell, so none is good.
        let is_revoked = self
            .0
            .marker(snapshot)
            .is_none_or(|marker| self.0.revocations.concern(marker, facts, now.timestamp()));
        if is_revoked {
            self.0.tally.refused.fetch_add(1, Ordering::Relaxed);
        }
        is_revoked
    }

    /// There are revocations at all.
    #[must_use]
    pub fn knows_any(&self) -> bool {
        !self.0.revocations.is_empty()
    }

    /// A fresh `jti` or family: a UUIDv7 whose moment is not after the true one, as exactly as the database's clock is known here.
    #[must_use]
    pub fn new_id(&self) -> Uuid {
        let at = self.0.clock.now().timestamp_millis() - self.0.clock.error_ms();
        let random = Uuid::new_v4();
        // Version and variant stand where they will stand.
        let rest = random.as_bytes().last_chunk::<10>().unwrap_or(&[0; 10]);
        uuid::Builder::from_unix_timestamp_millis(u64::try_from(at).unwrap_or(0), rest).into_uuid()
    }

    /// What was counted so far.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.0.tally.read(self.0.revocations.len())
    }

    /// A refresh token was presented, and that came of it.
    pub fn count(&self, outcome: Outcome) {
        self.0.tally.refresh(outcome);
    }

    /// Tells of revocations that this node has made.
    pub(crate) fn made(&self) -> watch::Receiver<u64> {
        self.0.made.subscribe()
    }

    /// Tells of revocations as soon as they are known here, whoever made them.
    #[must_use]
    pub fn heard(&self) -> watch::Receiver<u64> {
        self.0.heard.subscribe()
    }

    /// From now on, tells of every revocation that comes to be known here.
    pub(crate) fn tell(&self, teller: impl Fn(&[Telling]) + Send + Sync + 'static) {
        // Once, at the start.
        let _first = self.0.teller.set(Box::new(teller));
    }

    /// From where the feed is to be read.
    pub(crate) fn horizon(&self) -> i64 {
        self.0.horizon.load(Ordering::Acquire)
    }

    /// The database was not reached. Should another one answer the next time, it may count from somewhere before.
    pub(crate) fn doubt(&self) {
        self.0.is_doubtful.store(true, Ordering::Release);
    }

    /// Takes in what others have revoked, as far as a look from [`Self::horizon`] has shown that there is something. Answers with the uptime
    /// of a moment of which everything is known; `None` while there is more to read than one poll can.
    ///
    /// # Errors
    /// The database failed; what was missed is read the next time.
    pub(crate) async fn follow(
        &self,
        sight: Option<FeedSight>,
        asked: Duration,
    ) -> Result<Option<Duration>, StoreError> {
        let shared = &*self.0;
        let mut under_way = shared.reading.lock().await;
        let mut reading = match under_way.take() {
            Some(reading) => reading,
            None if shared.knows_all(sight) => return Ok(Some(asked)),
            None => shared.begin_reading(asked).await?,
        };
        if shared.is_doubtful.load(Ordering::Acquire) && reading.feed.look_back(shared.in_doubt_since()) {
            shared.is_doubtful.store(false, Ordering::Release);
        }
        let began = tokio::time::Instant::now();
        let (database, keychain) = (shared.ring.database(), shared.keychain());
        // Kept in its place, so that whoever gives this up half way leaves it where the last page ended.
        let reading = under_way.insert(reading);
        while !reading.feed.is_over() {
            if began.elapsed() >= READ_MAX {
                return Ok(None);
            }
            let page = database.read_feed(&keychain, &mut reading.feed, PAGE).await?;
            shared.tally.damaged.fetch_add(page.damaged, Ordering::Relaxed);
            shared.take_in_page(&page);
        }
        shared.horizon.store(reading.feed.horizon(), Ordering::Release);
        shared.read_at.store(reading.at, Ordering::Release);
        let asked = reading.asked;
        *under_way = None;
        Ok(Some(asked))
    }
}

impl Shared {
    /// Nothing was revoked elsewhere since the last look.
    fn knows_all(&self, sight: Option<FeedSight>) -> bool {
        if self.is_doubtful.load(Ordering::Acquire) {
            return false;
        }
        match sight {
            // Nobody else writes to a file.
            None => {}
            Some(sight) if !sight.has_more && sight.horizon >= self.horizon.load(Ordering::Acquire) => {
                self.horizon.store(sight.horizon, Ordering::Release);
            }
            Some(_) => return false,
        }
        self.read_at.store(self.clock.now().timestamp_millis(), Ordering::Release);
        true
    }

    /// From where to read by the clock when something went wrong.
    fn in_doubt_since(&self) -> i64 {
        self.read_at.load(Ordering::Acquire) - OVERLAP_MS
    }

    async fn begin_reading(&self, asked: Duration) -> Result<Reading, StoreError> {
        let at = self.clock.now().timestamp_millis();
        // Should this fail, whoever asked says so, and it is in doubt again.
        let was_doubtful = self.is_doubtful.swap(false, Ordering::AcqRel);
        let since = was_doubtful.then(|| self.in_doubt_since());
        let horizon = self.horizon.load(Ordering::Acquire);
        let feed = self.ring.database().begin_feed(horizon, since).await?;
        if feed.is_anew() {
            tracing::warn!("the database counts transactions anew; all revocations are read again");
        }
        Ok(Reading { feed, asked, at })
    }

    /// Takes in a page; all of it is told at once, so that none of many pushes out another.
    fn take_in_page(&self, page: &FeedPage) {
        let now = self.clock.now().timestamp_millis();
        let mut tellings = Vec::new();
        for ((revocation, made_at), told) in page.revocations.iter().zip(&page.tellings) {
            if revocation.expires_at > now && !self.revocations.has(revocation) {
                self.revocations.add(revocation);
                self.heard.send_modify(|heard| *heard += 1);
                tellings.extend(self.told(revocation.mark, told.as_deref()));
                let lag = now.saturating_sub(*made_at);
                self.tally.lag.observe(Duration::from_millis(u64::try_from(lag).unwrap_or(0)));
            }
        }
        self.tell_all(&tellings);
    }

    pub(super) fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    pub(super) fn marker(&self, snapshot: &Snapshot) -> Option<&Marker> {
        if let Some(marker) = self.marker.get() {
            return Some(marker);
        }
        let secret = internal::mark_secret(snapshot)?;
        Some(self.marker.get_or_init(|| Marker::new(&secret)))
    }

    pub(super) fn keychain(&self) -> Arc<Keychain> {
        Arc::clone(self.ring.snapshot().keychain())
    }

    pub(super) fn permit(&self) -> Result<SemaphorePermit<'_>, TokenFailure> {
        self.permits.try_acquire().map_err(|_| TokenFailure::Overloaded)
    }

    /// The database has not said whether it took something; whatever it has is read soon.
    pub(super) fn failed(&self, error: StoreError) -> TokenFailure {
        self.is_doubtful.store(true, Ordering::Release);
        TokenFailure::Storage(error)
    }

    /// Takes in what this node has written, and tells the others.
    pub(super) fn take_in(&self, revocation: &Revocation, telling: &Telling) {
        // The feed may have brought it already, and then it was told.
        let is_new = !self.revocations.has(revocation);
        self.revocations.add(revocation);
        self.tally.revoked.fetch_add(1, Ordering::Relaxed);
        self.made.send_modify(|made| *made += 1);
        self.heard.send_modify(|heard| *heard += 1);
        if is_new {
            self.tell_all(std::slice::from_ref(telling));
        }
    }

    fn tell_all(&self, tellings: &[Telling]) {
        if let Some(teller) = self.teller.get().filter(|_| !tellings.is_empty()) {
            teller(tellings);
        }
    }

    /// What another node has left to be told. A release that knows of nothing to tell leaves nothing.
    fn told(&self, mark: Mark, sealed: Option<&[u8]>) -> Option<Telling> {
        let (_, sealed) = self.teller.get().zip(sealed)?;
        let telling = Telling::open(&self.ring.snapshot(), mark, sealed);
        if telling.is_none() {
            tracing::error!(
                "what is told of a revocation was changed in the database; it is in force all the same"
            );
        }
        telling
    }

    /// What the database keeps of an operation.
    pub(super) fn record(
        &self,
        operation: &str,
        context: &ChangeContext,
        subject: Subject,
        at: Time,
    ) -> String {
        let record = AuditRecord {
            ts: at,
            event: event_of(operation),
            operation,
            actor: &context.actor,
            actor_id: context.actor_id.as_deref().and_then(|id| Uuid::try_parse(id).ok()),
            address: None,
            subject: &subject,
            outcome: "ok",
            status: None,
            request_id: &context.request_id,
            node: &self.node,
            epoch: self.ring.snapshot().epoch.0,
            duration_us: 0,
            times: None,
        };
        serde_json::to_string(&record).unwrap_or_default()
    }
}
