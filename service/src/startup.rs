//! From settings to a listening service, and back to rest.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::{
    App, HttpServer,
    dev::Server,
    rt::net::TcpStream,
    web::{Data, PayloadConfig},
};
use claviger_actors::{
    alerts::{AlertSettings, AlertsHandle, Deliver},
    audit::{AuditHandle, keeper::AuditKeeper},
    clock::{Clock, ClusterClock},
    cluster::{HintError, RedisLink, RedisPlace},
    incidents::{IncidentSettings, IncidentsHandle, Mode},
    keyring::{
        boot::{self, BootError, Booted, DefaultKeys, Identity, Started},
        policy,
    },
    masters::{GivenMasters, MasterSettings},
    quotas::{Class, Quota, QuotasHandle},
    rotation::RotationHandle,
    seal::MasterKeys,
    store::{Database, Place, Pool, StoreError},
    stores::{Pace, StoresHandle},
    uses,
};
use claviger_crypto::secret::SecretBytes;
use tokio::sync::Semaphore;

use crate::{
    alerts, audit,
    auth::{Addresses, Authorizer, Issuers, Limiter, MeshIdentity, Password, Peer, Tailscale},
    authorities,
    backup::{self, Backups},
    channels::Channels,
    config::{DatabaseUrl, Limits, RedisUrl, Response, Settings, Tls},
    connections::Connections,
    files, hardening,
    http::{
        self, openapi,
        record::{Tally, tell_counted, tell_once},
        state::AppState,
        ws,
    },
    internal::{self, InternalServer},
    jammed, lifecycle,
    lock::DatabaseLock,
    metrics::Metrics,
    providers::{Book, ConfiguredProviders},
    telemetry::{SpanError, Spans},
    tls::{self, Certificate, Clients},
};

/// Time for a request's head to arrive.
pub(crate) const HEAD_ARRIVAL: Duration = Duration::from_secs(5);
/// How often certificate files are looked at.
const CERTIFICATE_LOOK: Duration = Duration::from_secs(10);

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
        let issuers = Issuers::new(&settings.issuers, settings.ca_file.as_deref());
        let issuers = issuers.map_err(at("issuers"))?;
        let providers = ConfiguredProviders::new(&settings.providers, settings.ca_file.as_deref());
        let providers = providers.map_err(at("providers"))?;
        let backups = backups(&settings).map_err(at("backup"))?;
        let (alerts, channels) = alerting(&settings)?;
        let certificate = settings.tls.clone().map(Certificate::load).transpose().map_err(at("tls.cert"))?;
        let clients = settings.tls.as_ref().and_then(clients).transpose().map_err(at("tls.client_ca"))?;
        let redis = redis(&settings).await?;
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

        let started = ring.start(redis, master_settings(&settings));
        let clock: Arc<dyn Clock> = clock;
        let audited = audit::start(&settings, &started.ring, &clock).await;
        if audited.is_err() {
            started.cluster.leave().await;
        }
        // A node that has not heard from the database since it loaded the ring answers nobody.
        started.cluster.refresh().await;
        let state = Data::new(state(
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
        let server = serve(&settings, listener, state.clone(), certificate)?;
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

fn state(
    settings: &Settings,
    Started { ring, tokens, cluster, events, masters, attempts, quotas }: Started,
    (audit, keeper): (AuditHandle, AuditKeeper),
    (clock, issuer, (issuers, providers), spans): (
        Arc<dyn Clock>,
        String,
        (Issuers, ConfiguredProviders),
        Spans,
    ),
    (password, backups, alerts): (Option<Password>, Backups, AlertSettings),
    clients: Option<Arc<Clients>>,
) -> AppState {
    tokens.allow(settings.token_times.max_revocations);
    uses::keep(ring.clone(), Arc::clone(&clock));
    let mesh = settings.doors.mesh.clone();
    let pace = Pace { rate: settings.stores.migration_rate, batch: settings.stores.migration_batch };
    let stores = StoresHandle::start(ring.clone(), Arc::clone(&clock), &settings.node, pace);
    let alerts = AlertsHandle::new(
        (ring.clone(), cluster.clone()),
        (events.clone(), audit.clone()),
        Arc::clone(&clock),
        alerts,
    );
    AppState {
        rotation: RotationHandle::start(
            ring.clone(),
            audit.clone(),
            settings.node.clone(),
            Arc::clone(&clock),
            settings.rotation_tick,
        ),
        providers: providers.start(
            stores.clone(),
            Arc::clone(&clock),
            Book { audit: audit.clone(), ring: ring.clone(), node: settings.node.clone() },
        ),
        incidents: IncidentsHandle::start(
            (ring.clone(), tokens.clone(), cluster.clone()),
            (events.clone(), audit.clone()),
            Arc::clone(&clock),
            Arc::new(alerts.clone()),
            incident_settings(settings),
        ),
        alerts,
        stores,
        backups: Arc::new(backups),
        authorizer: Authorizer::default(),
        issuers,
        spans,
        metrics: Metrics::new(settings.watching.metrics_keys),
        ring,
        masters,
        tokens,
        token_times: settings.token_times,
        cluster,
        events,
        max_staleness: settings.max_staleness,
        audit,
        audit_dir: settings.audit.dir.clone(),
        verifying: Arc::new(Semaphore::new(1)),
        keeper,
        audit_level: settings.audit.level,
        tally: Tally::default(),
        floods: Mutex::default(),
        clock,
        node: settings.node.clone(),
        issuer: OnceLock::from(issuer),
        signing_key: settings.signing_key.clone(),
        encryption_key: settings.encryption_key.clone(),
        deletion_waiting_period: settings.deletion_waiting_period,
        body_limit: settings.body_limit,
        request_timeout: settings.request_timeout,
        draining: AtomicBool::new(false),
        addresses: Addresses::new(settings.doors.trusted_proxies.clone()),
        clients,
        limiter: Limiter::new(settings.doors.failed_attempts, attempts),
        connections: Connections::within(hardening::open_files(), settings.workers),
        quotas: QuotasHandle::start(quotas_of(&settings.limits), quotas),
        mesh: mesh.map(|mesh| Box::new(Tailscale::new(mesh)) as Box<dyn MeshIdentity>),
        password,
        sessions: ws::Sessions::default(),
        doors: settings.doors.clone(),
    }
}

/// Quotas, in the order of [`Class::ALL`].
fn quotas_of(limits: &Limits) -> [Option<Quota>; 5] {
    Class::ALL.map(|class| {
        let quota = match class {
            Class::Principal => limits.principal,
            Class::Key => limits.key,
            Class::Address => limits.address,
            Class::Failure => limits.failures,
            Class::Grant => limits.grants,
        };
        quota.map(|quota| Quota { count: quota.count, window: quota.window })
    })
}

/// What follows from each level, and where this node's log is.
fn incident_settings(settings: &Settings) -> IncidentSettings {
    let mode = |response| match response {
        Response::Act => Mode::Act,
        Response::Ask => Mode::Ask,
        Response::Watch => Mode::Watch,
    };
    let responses = &settings.responses;
    IncidentSettings {
        modes: [responses.high, responses.medium, responses.low].map(mode),
        audit_dir: settings.audit.dir.clone(),
        refresh_ttl: Duration::from_secs(settings.token_times.refresh.as_secs()),
        node: settings.node.clone(),
    }
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
        let (token, file) = bootstrap_token(settings, folder).map_err(at("bootstrap_token"))?;
        ring.bootstrap(&token).await?;
        bootstrap_token_file = file;
    }
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    let issuer = issuer(settings, ring.issuer.as_deref(), scheme, address)?;
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

/// When something is an alert, and the ways to tell people.
fn alerting(settings: &Settings) -> Result<(AlertSettings, Arc<dyn Deliver>), StartError> {
    let at = |setting| move |cause| StartError::Setting { setting, cause };
    let alerts = alerts::settings(settings).map_err(|rule| at("alerts.rules")(invalid(&rule)))?;
    let channels = Channels::new(&settings.channels, settings.ca_file.as_deref());
    Ok((alerts, Arc::new(channels.map_err(at("channels"))?)))
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text.to_owned())
}

/// Who judges certificates of clients, where they are asked for.
fn clients(tls: &Tls) -> Option<io::Result<Arc<Clients>>> {
    let authorities = tls.client_ca.clone()?;
    Some(Clients::load(authorities, tls.client_crl.clone()))
}

/// Backups, as the settings say.
fn backups(settings: &Settings) -> io::Result<Backups> {
    if let Some(schedule) = &settings.backup.schedule
        && policy::last_due(schedule, chrono::DateTime::UNIX_EPOCH).is_err()
    {
        return Err(invalid("schedule must be five fields of cron, in UTC"));
    }
    Backups::new(settings).map_err(|error| invalid(&error.to_string()))
}

/// The way to Redis. One that is away is waited for while the node serves; one that is of no use is a setting to be put right.
async fn redis(settings: &Settings) -> Result<Option<RedisLink>, StartError> {
    let authorities = settings.ca_file.as_deref().map(authorities::beside_the_machines).transpose();
    let authorities = authorities.map_err(|cause| StartError::Setting { setting: "tls.ca_file", cause })?;
    let Some(url) = &settings.redis else { return Ok(None) };
    let link = RedisLink::new(redis_place(url), authorities.as_deref())?;
    match link.look().await {
        Err(error @ (HintError::Cluster | HintError::Settings)) => Err(error.into()),
        // Whoever listens to it says why, and goes on trying.
        Ok(()) | Err(HintError::Unreachable(_) | HintError::Refused(_)) => Ok(Some(link)),
    }
}

pub(crate) fn default_keys(settings: &Settings) -> DefaultKeys {
    DefaultKeys { signing: settings.signing_key.clone(), encryption: settings.encryption_key.clone() }
}

pub(crate) fn identity(settings: &Settings) -> Identity {
    Identity {
        name: settings.node.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        max_staleness: settings.max_staleness,
    }
}

fn redis_place(redis: &RedisUrl) -> RedisPlace<'_> {
    match redis {
        RedisUrl::Server(url) => RedisPlace::Server(url),
        RedisUrl::Sentinels { urls, master, password, database, tls } => RedisPlace::Sentinels {
            urls,
            master,
            password: password.as_ref().map(|password| password.as_str()),
            database: *database,
            tls: *tls,
        },
    }
}

/// Where the settings say that the database is.
#[must_use]
pub fn place(settings: &Settings) -> Place<'_> {
    match &settings.database {
        DatabaseUrl::Sqlite(path) => Place::File(path),
        DatabaseUrl::Postgres(url) => Place::Server {
            url,
            migration_url: settings.migration_url.as_ref().map(|url| url.as_str()),
            pool: pool(settings),
        },
    }
}

/// Connections to the database, as the settings say.
pub(crate) const fn pool(settings: &Settings) -> Pool {
    Pool {
        min: settings.pool.min,
        max: settings.pool.max,
        acquire_timeout: settings.pool.acquire_timeout,
        max_lifetime: settings.pool.max_lifetime,
    }
}

const fn master_settings(settings: &Settings) -> MasterSettings {
    MasterSettings { rotate_every: settings.master_rotate_every, rekey_rate: settings.rekey_rate }
}

/// The masters that a node is given, newest first.
///
/// # Errors
/// The key file can't be read or made.
pub fn masters(settings: &Settings, folder: &Path) -> io::Result<GivenMasters> {
    let none = || io::Error::from(io::ErrorKind::InvalidData);
    if let Some(masters) = &settings.masters {
        let keys = MasterKeys::new(masters.as_slice().to_vec()).ok_or_else(none)?;
        return Ok(GivenMasters { keys, renew: None });
    }
    let path = folder.join("master.key");
    let Some(database) = settings.database.file() else { return Err(none()) };
    let has_data = std::fs::metadata(database).is_ok_and(|database| database.len() > 0);
    if has_data && !path.exists() {
        // A fresh key would open nothing, and stand in the way of the right one.
        return Err(io::Error::other(format!(
            "the database exists but {} does not; bring it back",
            path.display()
        )));
    }
    let (secret, made) = files::secret_file(&path, "")?;
    if made {
        tracing::warn!(file = %path.display(), "master key generated; back it up, nothing opens without it");
    }
    // One a line, newest first, as a rotation leaves them.
    let lines = secret.expose().split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let secrets = lines.filter(|line| !line.is_empty()).map(|line| SecretBytes::new(line.to_vec()));
    let keys = MasterKeys::new(secrets.collect()).ok_or_else(none)?;
    Ok(GivenMasters { keys, renew: Some(Arc::new(move |kept| files::renew_secret(&path, kept))) })
}

fn bootstrap_token(settings: &Settings, folder: &Path) -> io::Result<(SecretBytes, Option<PathBuf>)> {
    match &settings.bootstrap_token {
        Some(token) => Ok((token.clone(), None)),
        None if settings.database.file().is_none() => Err(io::Error::other(
            "must be given for the first start with PostgreSQL: each node would make its own",
        )),
        None => {
            let path = folder.join("bootstrap.token");
            let (token, _) = files::secret_file(&path, "clv_bootstrap_")?;
            Ok((token, Some(path)))
        }
    }
}

/// The issuer is fixed with the first start: tokens outlive restarts, and the address may be another one each time.
fn issuer(
    settings: &Settings,
    known: Option<&str>,
    scheme: &str,
    address: SocketAddr,
) -> Result<String, StartError> {
    match (&settings.issuer, known) {
        (Some(given), Some(known)) if given != known => Err(StartError::Issuer(known.to_owned())),
        (_, Some(known)) => Ok(known.to_owned()),
        (Some(given), None) => Ok(given.clone()),
        (None, None) => Ok(format!("{scheme}://{address}")),
    }
}

fn serve(
    settings: &Settings,
    listener: TcpListener,
    state: Data<AppState>,
    certificate: Option<Arc<Certificate>>,
) -> Result<Server, StartError> {
    let at = |setting| move |cause| StartError::Setting { setting, cause };
    let document = Data::new(openapi::document());
    let body_limit = settings.body_limit;
    let connections = Arc::clone(&state.connections);
    let of_a_worker = connections.of_a_worker();
    let clients = state.clients.clone();
    let names = settings.tls.as_ref().map(|tls| tls.client_roles.clone()).unwrap_or_default();
    let judges = clients.clone();
    let server = HttpServer::new(move || {
        App::new()
            .app_data(state.clone())
            .app_data(document.clone())
            .app_data(PayloadConfig::new(body_limit))
            .app_data(ws::Inside::default())
            .configure(http::configure)
    })
    .on_connect(move |connection, data| {
        connections.enter(connection, data);
        if let Some(clients) = &judges
            && let Some(stream) = connection.downcast_ref::<TlsStream<TcpStream>>()
            && let Some(chain) = stream.get_ref().1.peer_certificates()
        {
            data.insert(Arc::new(Peer::new(chain, &names, Arc::clone(clients))));
        }
    })
    .workers(settings.workers)
    .max_connections(of_a_worker)
    // Those who begin to shake hands and say no more hold up nobody but themselves.
    .max_connection_rate(of_a_worker)
    .client_request_timeout(HEAD_ARRIVAL)
    // What a session says is small, and must not wait for word that what it said before has come.
    .tcp_nodelay(true)
    .shutdown_timeout(settings.shutdown_timeout.as_secs())
    .disable_signals();
    let server = match certificate {
        None => server.listen(listener).map_err(at("server.listen"))?,
        Some(certificate) => {
            let config =
                tls::server_config(Arc::clone(&certificate), clients.clone()).map_err(at("tls.cert"))?;
            actix_web::rt::spawn(async move {
                let mut look = actix_web::rt::time::interval(CERTIFICATE_LOOK);
                loop {
                    look.tick().await;
                    certificate.reload_if_changed();
                    clients.iter().for_each(|clients| clients.reload_if_changed());
                }
            });
            server.listen_rustls_0_23(listener, config).map_err(at("server.listen"))?
        }
    };
    Ok(server.run())
}
