//! Providers of tokens that are kept for users: tokens are fetched there, refreshed, revoked and verified.
//!
//! What a provider answers is judged in [`answer`], when it is asked in [`due`]; both are pure. [`refresh`] sees to it that it is asked once.

mod answer;
mod call;
mod due;
mod exchange;
mod figures;
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

use claviger_actors::{
    clock::{Clock, uptime},
    stores::{Place, StoresHandle},
};
use claviger_config::TokenProvider;
use tokio::runtime::Handle;

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
const FINISH_LOOK: Duration = Duration::from_millis(50);

/// Providers, and what is under way with them.
pub struct Providers {
    all: BTreeMap<String, Arc<Provider>>,
    stores: StoresHandle,
    clock: Arc<dyn Clock>,
    home: Handle,
    flights: Flights,
    /// Other work that outlives the request that has begun it.
    errands: AtomicUsize,
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
    pub fn start(self, stores: StoresHandle, clock: Arc<dyn Clock>) -> Arc<Providers> {
        let (flights, errands, home) = (Flights::default(), AtomicUsize::new(0), Handle::current());
        let providers = Providers { all: self.0, stores, clock, home, flights, errands };
        for provider in providers.all.values() {
            if let Some(keys) = &provider.keys {
                keys.keep(&providers.home);
            }
        }
        Arc::new(providers)
    }
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

    /// Waits for what is under way, for so long as a lease lasts.
    pub async fn finish(&self) {
        let began = uptime();
        while self.flights.count() + self.errands.load(Ordering::Relaxed) > 0
            && uptime().saturating_sub(began) < FINISH
        {
            tokio::time::sleep(FINISH_LOOK).await;
        }
    }
}
