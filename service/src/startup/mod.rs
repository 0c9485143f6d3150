//! From settings to a listening service, and back to rest.
//!
//! This is the order in which it happens. What the settings give is in [`given`], what handlers reach in [`assembly`], the listener in [`server`].

mod assembly;
mod given;
mod server;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use actix_web::{dev::Server, web::Data};
use claviger_actors::{
    clock::{Clock, ClusterClock},
    cluster::HintError,
    keyring::boot::{self, BootError, Booted},
    store::{Database, StoreError},
};

pub use self::given::{masters, place};
pub(crate) use self::{
    given::{default_keys, identity, pool},
    server::HEAD_ARRIVAL,
};
use crate::{
    alerts, audit,
    auth::{Issuers, Password},
    backup,
    config::Settings,
    files,
    http::{
        self,
        record::{tell_counted, tell_once},
        state::AppState,
        ws,
    },
    internal::{self, InternalServer},
    jammed, lifecycle,
    lock::DatabaseLock,
    providers::ConfiguredProviders,
    telemetry::{SpanError, Spans},
};

/// Why the service did not start: one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting.
    #[error("{setting}: {cause}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// Why.
        cause: io::Error,
    },
    /// The database, before anything is read from it.
    #[error("database.url: {0}")]
    Database(StoreError),
    /// The ring.
    #[error("{0}")]
    Boot(#[from] BootError),
    /// Redis.
    #[error("redis.url: {0}")]
    Redis(#[from] HintError),
    /// Spans.
    #[error("telemetry.otlp_endpoint: {0}")]
    Spans(#[from] SpanError),
    /// The issuer of the deployment is another one.
    #[error("tokens.issuer differs from the issuer of this deployment, which is {0}")]
    Issuer(String),
}

/// A service that listens.
pub struct Application {
    server: Server,
    internal: Option<InternalServer>,
    state: Data<AppState>,
    address: SocketAddr,
    /// Where a generated bootstrap token was written.
    pub bootstrap_token_file: Option<PathBuf>,
    drain_delay: Duration,
    _lock: Option<DatabaseLock>,
}

impl Application {
    /// Opens the database, loads the ring, makes what is missing and binds the address. Nothing is written before the master key is
    /// known to be the right one.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn build(settings: Settings) -> Result<Self, StartError> {
        let at = |setting| move |cause| StartError::Setting { setting, cause };
        let issuers = Issuers::new(&settings.issuers, settings.ca_file.as_deref()).map_err(at("issuers"))?;
        let providers = ConfiguredProviders::new(&settings.providers, settings.ca_file.as_deref());
        let providers = providers.map_err(at("providers"))?;
        let backups = given::backups(&settings).map_err(at("backup"))?;
        let (alerts, channels) = given::alerting(&settings)?;
        let (certificate, clients) = server::certificates(settings.tls.as_ref())?;
        let redis = given::redis(&settings).await?;
        let folder = settings.database.folder().to_owned();
        files::private_directory(&folder).map_err(at("database.url"))?;
        let password = settings.doors.password_file.as_deref().map(Password::load).transpose();
        let password = password.map_err(at("ws.password_file"))?;
        let lock = settings.database.file().map(DatabaseLock::acquire).transpose();
        let lock = lock.map_err(at("database.url"))?;
        let masters = masters(&settings, &folder).map_err(at("seal.master_key"))?;
        if let Some(file) = settings.database.file() {
            files::private_file(file).map_err(at("database.url"))?;
        }
        let listener = TcpListener::bind(settings.listen).map_err(at("server.listen"))?;
        jammed::are_let_go(&listener);
        let address = listener.local_addr().map_err(at("server.listen"))?;
        let spans = Spans::start(&settings.watching, &settings.node)?;
        let internal = internal::bind(&settings).map_err(at("server.internal_listen"))?;
        let database = Database::open(place(&settings)).await.map_err(StartError::Database)?;

        let clock = Arc::new(ClusterClock::default());
        let (defaults, identity) = (default_keys(&settings), identity(&settings));
        let mut ring = boot::boot(database, masters, identity, &defaults, Arc::clone(&clock)).await?;
        let settled = settle(&mut ring, &settings, &issuers, (&folder, address)).await;
        let (issuer, bootstrap_token_file) = match settled {
            Ok(settled) => settled,
            Err(error) => {
                // Nobody is to wait for a node that does not start.
                ring.abandon().await;
                return Err(error);
            }
        };

        let started = ring.start(redis, given::master_settings(&settings));
        let clock: Arc<dyn Clock> = clock;
        let audited = audit::start(&settings, &started.ring, &clock).await;
        if audited.is_err() {
            started.cluster.leave().await;
        }
        // A node that has not heard from the database since it loaded the ring answers nobody.
        started.cluster.refresh().await;
        let state = Data::new(assembly::state(
            &settings,
            started,
            audited?,
            (clock, issuer, (issuers, providers), spans),
            (password, backups, alerts),
            clients,
        ));
        state.masters.keep(state.audit.clone());
        lifecycle::started(&state, &settings).await;
        tend(&state, &settings);
        state.alerts.tell(&channels);
        state.alerts.watch(Box::new(alerts::Live::new(state.clone(), certificate.clone())));
        let server = server::serve(&settings, listener, state.clone(), certificate)?;
        let internal = internal.map(|listener| InternalServer::new(&settings, listener, state.clone()));
        let internal = internal.transpose().map_err(at("server.internal_listen"))?;
        Ok(Self {
            server,
            internal,
            state,
            address,
            bootstrap_token_file,
            drain_delay: settings.drain_delay,
            _lock: lock,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it answers whoever watches the node.
    #[must_use]
    pub fn internal_address(&self) -> Option<SocketAddr> {
        self.internal.as_ref().map(|internal| internal.address)
    }

    /// Serves until `stop` resolves, then finishes what has begun.
    ///
    /// # Errors
    /// The server failed.
    pub async fn run(self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let handle = self.server.handle();
        let serving = actix_web::rt::spawn(self.server);
        let internal = self.internal.map(InternalServer::run);
        stop.await;
        self.state.draining.store(true, Ordering::Relaxed);
        self.state.cluster.drain();
        // Whoever listens goes elsewhere at once: nobody is to wait for a stream to end, nor for one whose reader takes nothing.
        let had_readers = self.state.events.figures().subscribers > 0;
        self.state.events.close();
        tracing::info!("stopping");
        // Whoever balances the load looks at /readyz now and then; until it has, requests still come.
        actix_web::rt::time::sleep(self.drain_delay).await;
        self.state.sessions.close_all();
        let stopping = actix_web::rt::spawn(handle.stop(true));
        let in_flight = || self.state.metrics.in_flight();
        let served = tokio::select! {
            served = serving => served.map_err(io::Error::other)?,
            () = self.state.sessions.only_jammed_left(in_flight, had_readers) => {
                tracing::warn!("sessions and streams whose clients take nothing are left behind");
                Ok(())
            }
        };
        stopping.abort();
        if let Some(internal) = internal {
            // Whoever watches sees the node to its end.
            internal.stop().await?;
        }
        // What providers have given must be stored.
        self.state.providers.finish().await;
        tell_once(&self.state).await;
        lifecycle::stopped(&self.state).await;
        self.state.audit.close().await;
        self.state.keeper.flush().await;
        self.state.cluster.leave().await;
        self.state.ring.close().await;
        self.state.spans.close().await;
        served
    }
}

/// Begins what goes on for as long as the node runs.
fn tend(state: &Data<AppState>, settings: &Settings) {
    state.issuers.keep();
    actix_web::rt::spawn(tell_counted(state.clone()));
    actix_web::rt::spawn(http::health::tell_changes(state.clone()));
    actix_web::rt::spawn(ws::watch(state.clone()));
    actix_web::rt::spawn(backup::keep(state.clone(), settings.backup.clone()));
}

/// What a deployment fixes once: its first administrator and its issuer. Answers with the issuer, and the file with the administrator's token
/// if one was made.
async fn settle(
    ring: &mut Booted,
    settings: &Settings,
    issuers: &Issuers,
    (folder, address): (&Path, SocketAddr),
) -> Result<(String, Option<PathBuf>), StartError> {
    let at = |setting| move |cause| StartError::Setting { setting, cause };
    let mut bootstrap_token_file = None;
    if !ring.bootstrapped {
        let (token, file) = given::bootstrap_token(settings, folder).map_err(at("bootstrap_token"))?;
        ring.bootstrap(&token).await?;
        bootstrap_token_file = file;
    }
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    let issuer = given::issuer(settings, ring.issuer.as_deref(), scheme, address)?;
    issuers.are_others_than(&issuer).map_err(at("issuers"))?;
    ring.fix_issuer(&issuer).await?;
    // Another node may have been first, with an address of its own.
    let issuer = ring.issuer.clone().unwrap_or(issuer);
    if settings.issuer.as_ref().is_some_and(|given| *given != issuer) {
        return Err(StartError::Issuer(issuer));
    }
    issuers.are_others_than(&issuer).map_err(at("issuers"))?;
    Ok((issuer, bootstrap_token_file))
}
