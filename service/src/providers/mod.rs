//! Providers of tokens that are kept for users: tokens are fetched there, refreshed, revoked and verified.
//!
//! What a provider answers is judged in [`answer`], when it is asked in [`due`]; both are pure. [`refresh`] sees to it that it is asked once.

mod answer;
mod call;
mod due;
mod exchange;
mod figures;
mod keep;
mod logout;
mod refresh;
mod verify;

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use claviger_actors::{
    audit::{AuditHandle, AuditRecord, Subject, event_of},
    clock::{Clock, uptime},
    keyring::{ChangeContext, KeyRingHandle},
    stores::{Place, StoresHandle},
};
use claviger_config::TokenProvider;
use tokio::{runtime::Handle, sync::mpsc};
use uuid::Uuid;

pub use self::{
    answer::Fault,
    call::CallError,
    exchange::{CodeGrant, ExchangeFailure},
    figures::ProviderFigures,
    logout::LogoutFailure,
    refresh::RefreshFailure,
    verify::{Judged, NotValid},
};
use self::{call::Provider, refresh::Flights};
use crate::outgoing::{Outgoing, OutgoingUrl};

/// How long a node that stops waits for providers that it has asked.
const FINISH: Duration = Duration::from_secs(20);
/// How long it waits for what they have given to be written.
const FINISH_WRITING: Duration = Duration::from_secs(60);
/// Changes on their way to the log.
const ENTRIES_MAX: usize = 1_024;
const FINISH_LOOK: Duration = Duration::from_millis(50);

/// Providers, and what is under way with them.
pub struct Providers {
    all: BTreeMap<String, Arc<Provider>>,
    stores: StoresHandle,
    clock: Arc<dyn Clock>,
    book: Book,
    entries: mpsc::Sender<Entry>,
    home: Handle,
    flights: Flights,
    /// Other work that outlives the request that has begun it.
    errands: AtomicUsize,
    /// What was given, and is not written yet.
    keeping: AtomicUsize,
}

/// What is put on record beside the record of the transaction, as of any change: the log that is chained, and what it needs.
pub struct Book {
    /// The log.
    pub audit: AuditHandle,
    /// The ring.
    pub ring: KeyRingHandle,
    /// This node.
    pub node: String,
}

/// Providers as configured, before there is anything to do for them.
pub struct ConfiguredProviders(BTreeMap<String, Arc<Provider>>);

impl ConfiguredProviders {
    /// As configured; nobody is asked yet.
    ///
    /// # Errors
    /// A URL that may not be asked, named with its setting, or TLS that can't be set up.
    pub fn new(settings: &[TokenProvider], ca_file: Option<&Path>) -> io::Result<Self> {
        if settings.is_empty() {
            return Ok(Self(BTreeMap::new()));
        }
        let urls = settings.iter().flat_map(|provider| {
            let optional =
                [&provider.revocation_endpoint, &provider.introspection_endpoint, &provider.jwks_uri];
            std::iter::once(&provider.token_endpoint).chain(optional.into_iter().flatten())
        });
        let plain_only = urls.into_iter().all(|url| OutgoingUrl::parse(url).is_ok_and(|url| url.is_plain()));
        let outgoing = Outgoing::afresh(ca_file, plain_only)?;
        let all = settings.iter().map(|settings| {
            Ok((settings.name.as_str().to_owned(), Arc::new(Provider::new(settings, &outgoing)?)))
        });
        all.collect::<io::Result<_>>().map(Self)
    }

    /// From now on they may be asked, from this runtime.
    #[must_use]
    pub fn start(self, stores: StoresHandle, clock: Arc<dyn Clock>, book: Book) -> Arc<Providers> {
        let (flights, home) = (Flights::default(), Handle::current());
        let (errands, keeping) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (entries, mut waiting) = mpsc::channel(ENTRIES_MAX);
        let providers =
            Providers { all: self.0, stores, clock, book, entries, home, flights, errands, keeping };
        for provider in providers.all.values() {
            if let Some(keys) = &provider.keys {
                keys.keep(&providers.home);
            }
        }
        let providers = Arc::new(providers);
        let writer = Arc::clone(&providers);
        actix_web::rt::spawn(async move {
            while let Some(entry) = waiting.recv().await {
                writer.write(entry).await;
            }
        });
        providers
    }
}

/// A change, on its way to the log, which is written to from one thread.
struct Entry {
    ts: DateTime<Utc>,
    operation: &'static str,
    actor: String,
    actor_id: Option<Uuid>,
    subject: Subject,
    request_id: String,
    epoch: u64,
    took: Duration,
}

/// Counts an errand until it is done, whatever becomes of it.
struct Errand<'a>(&'a Providers);

impl Drop for Errand<'_> {
    fn drop(&mut self) {
        self.0.errands.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Providers {
    fn of(&self, place: &Place) -> Option<&Arc<Provider>> {
        self.all.get(place.name())
    }

    fn now(&self) -> i64 {
        self.clock.now().timestamp()
    }

    /// Puts a change that no request has asked for by its name on record. It is made, and has a record in the database.
    fn record(&self, operation: &'static str, (asker, place): (&ChangeContext, &Place), began: Duration) {
        let snapshot = self.book.ring.snapshot();
        let owner = snapshot.audit_hash(place.owner().as_str());
        let entry = Entry {
            ts: self.clock.now(),
            operation,
            actor: asker.actor.clone(),
            actor_id: asker.actor_id.as_ref().and_then(|id| id.parse().ok()),
            subject: Subject::of_stored(owner, Some(place.name().to_owned())),
            request_id: asker.request_id.clone(),
            epoch: snapshot.epoch.0,
            took: uptime().saturating_sub(began),
        };
        self.errands.fetch_add(1, Ordering::Relaxed);
        if self.entries.try_send(entry).is_err() {
            self.errands.fetch_sub(1, Ordering::Relaxed);
            tracing::warn!(operation, "a change is in the database's records only");
        }
    }

    async fn write(&self, entry: Entry) {
        let _until_done = Errand(self);
        let record = AuditRecord {
            ts: entry.ts,
            event: event_of(entry.operation),
            operation: entry.operation,
            actor: &entry.actor,
            actor_id: entry.actor_id,
            address: None,
            subject: &entry.subject,
            outcome: "ok",
            status: None,
            request_id: &entry.request_id,
            node: &self.book.node,
            epoch: entry.epoch,
            duration_us: u64::try_from(entry.took.as_micros()).unwrap_or(u64::MAX),
            times: None,
        };
        if let Err(error) = self.book.audit.append(&record, true).await {
            tracing::warn!(%error, operation = entry.operation, "a change is in the database's records only");
        }
    }

    /// Figures of each.
    pub fn figures(&self) -> impl Iterator<Item = ProviderFigures<'_>> {
        self.all.values().map(|provider| provider.figures())
    }

    /// Refreshes under way.
    #[must_use]
    pub fn refreshing(&self) -> usize {
        self.flights.count()
    }

    /// Does something that goes on when whoever has asked for it is gone.
    ///
    /// # Errors
    /// Its own; `None` when it panicked.
    async fn errand<T, W>(self: &Arc<Self>, work: impl FnOnce(Arc<Self>) -> W) -> Option<T>
    where
        T: Send + 'static,
        W: Future<Output = T> + Send + 'static,
    {
        self.errands.fetch_add(1, Ordering::Relaxed);
        let (this, work) = (Arc::clone(self), work(Arc::clone(self)));
        let running = self.home.spawn(async move {
            let _until_done = Errand(&this);
            work.await
        });
        running.await.ok()
    }

    /// Waits for what is under way, for so long as a lease lasts, and longer for what was given: if it is not written it is lost.
    pub async fn finish(&self) {
        let began = uptime();
        let waits = || {
            let under_way = self.flights.count() + self.errands.load(Ordering::Relaxed);
            waits(uptime().saturating_sub(began), under_way, self.keeping.load(Ordering::Relaxed))
        };
        while waits() {
            tokio::time::sleep(FINISH_LOOK).await;
        }
    }
}

/// Whether a node that stops goes on waiting.
const fn waits(waited: Duration, under_way: usize, keeping: usize) -> bool {
    (under_way > 0 && waited.as_secs() < FINISH.as_secs())
        || (keeping > 0 && waited.as_secs() < FINISH_WRITING.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_stops_waits_longest_for_what_was_given() {
        for (waited, under_way, keeping, expected) in [
            (0, 0, 0, false),
            (0, 1, 0, true),
            (19, 1, 0, true),
            (20, 1, 0, false),
            (20, 1, 1, true),
            (59, 1, 1, true),
            (60, 1, 1, false),
        ] {
            let waits = waits(Duration::from_secs(waited), under_way, keeping);
            assert_eq!(waits, expected, "{waited} {under_way} {keeping}");
        }
    }
}
