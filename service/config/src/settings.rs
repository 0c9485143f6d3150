//! What the service runs with.

use std::{
    io,
    net::SocketAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use claviger_crypto::{random, secret::SecretBytes};
use claviger_entity::{HumanDuration, KeyName};
use zeroize::Zeroizing;

use crate::{
    Alerts, Audit, Backup, Channel, ClientNames, ConfigError, Doors, Layers, Limits, MasterSecrets,
    PostgresUrl, RedisUrl, Responses, TokenProvider, TokenTimes, TrustedIssuer, Watching, master, postgres,
};

/// All settings, judged. No `Debug`: some are secrets.
pub struct Settings {
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Development mode.
    pub development: bool,
    /// HTTP workers.
    pub workers: usize,
    /// Longest request body, in bytes.
    pub body_limit: usize,
    /// Longest time for one request.
    pub request_timeout: Duration,
    /// Longest time for requests to finish at shutdown.
    pub shutdown_timeout: Duration,
    /// How long a node that is told to stop says so and answers all the same, so that whoever sends it requests learns of it first.
    pub drain_delay: Duration,
    /// Where the ring is kept.
    pub database: DatabaseUrl,
    /// Another way to the same database, for migrations: a role that may change the schema.
    pub migration_url: Option<Zeroizing<String>>,
    /// Connections to the database.
    pub pool: Pool,
    /// Redis, which makes nodes hear of each other sooner.
    pub redis: Option<RedisUrl>,
    /// Longest time without word from the database for which this node goes on.
    pub max_staleness: Duration,
    /// Master secrets; absent = the key file beside the database.
    pub masters: Option<MasterSecrets>,
    /// Age at which a master is to be replaced; `None` = never.
    pub master_rotate_every: Option<Duration>,
    /// Rows that are sealed anew each second at most.
    pub rekey_rate: u32,
    /// First administrator's token; absent = the token file beside the database.
    pub bootstrap_token: Option<SecretBytes>,
    /// Name of this node.
    pub node: String,
    /// `iss` of tokens.
    pub issuer: Option<String>,
    /// Key that signs when a request names none.
    pub signing_key: KeyName,
    /// Key that encrypts tokens when a request names none.
    pub encryption_key: KeyName,
    /// How long tokens live.
    pub token_times: TokenTimes,
    /// Issuers whose tokens are credentials.
    pub issuers: Vec<TrustedIssuer>,
    /// Providers of tokens that are kept for users.
    pub providers: Vec<TokenProvider>,
    /// It may listen without TLS for other machines.
    pub plain_http: bool,
    /// TLS of the listener.
    pub tls: Option<Tls>,
    /// Authorities that are trusted beside the machine's wherever this node is the client; in the database's URLs already.
    pub ca_file: Option<PathBuf>,
    /// How the audit log is kept.
    pub audit: Audit,
    /// Backups that nodes make by themselves.
    pub backup: Backup,
    /// How often the schedule is looked at.
    pub rotation_tick: Duration,
    /// Waiting period of a deletion.
    pub deletion_waiting_period: HumanDuration,
    /// How it is watched.
    pub watching: Watching,
    /// How stored rows move to the present version of their key.
    pub stores: Stores,
    /// Who is recognised at the doors.
    pub doors: Doors,
    /// How much may be asked for.
    pub limits: Limits,
    /// What follows from an incident's level.
    pub responses: Responses,
    /// When something is an alert.
    pub alerts: Alerts,
    /// Who is told of it.
    pub channels: Vec<Channel>,
}

/// How stored rows move to the present version of their key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stores {
    /// Rows a second, on each node.
    pub migration_rate: u32,
    /// Rows of one transaction.
    pub migration_batch: u32,
}

/// Where the ring is kept.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A file, served by one process.
    Sqlite(PathBuf),
    /// A server that several nodes share. The URL may hold a password.
    Postgres(Zeroizing<String>),
}

impl DatabaseUrl {
    /// The file, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }

    /// Where files of a node go unless said otherwise.
    #[must_use]
    pub fn folder(&self) -> &Path {
        match self {
            Self::Sqlite(path) => path.parent().unwrap_or(Path::new("")),
            Self::Postgres(_) => Path::new("data"),
        }
    }
}

/// Connections to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// Kept open.
    pub min: u32,
    /// Open at most.
    pub max: u32,
    /// Longest time to wait for one.
    pub acquire_timeout: Duration,
    /// A connection is replaced when it is this old.
    pub max_lifetime: Duration,
}

/// PEM files of the listener.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Certificate chain.
    pub cert: PathBuf,
    /// Private key.
    pub key: PathBuf,
    /// Authorities of client certificates; set = a client must have one.
    pub client_ca: Option<PathBuf>,
    /// What those have revoked.
    pub client_crl: Option<PathBuf>,
    /// Who holders of client certificates are.
    pub client_roles: ClientNames,
}

/// Cryptoperiod of the tier *master*.
const MASTER_PERIOD: HumanDuration = HumanDuration::from_days(90);
pub(crate) const SECONDS: &str = "must be a duration such as \"30s\", at least one second";

impl Settings {
    /// Merges and judges. The process environment and the file system are parameters.
    ///
    /// # Errors
    /// The first setting that is not right.
    pub fn load(
        file: Option<&str>,
        environment: impl IntoIterator<Item = (String, String)>,
        read_file: impl Fn(&Path) -> io::Result<String>,
    ) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let layers = Layers::merge(file, environment, &read_file, &mut problems);
        let settings = Judge { layers: &layers, problems: &mut problems }.settings(read_file);
        match (problems.into_iter().next(), settings) {
            (None, Some(settings)) => Ok(settings),
            (Some(problem), _) => Err(problem),
            (None, None) => Err(ConfigError::new("the configuration", "has no settings")),
        }
    }
}

/// Turns texts into settings and takes down what is wrong; a default stands in for it, so that the rest is judged too.
pub(crate) struct Judge<'a> {
    pub(crate) layers: &'a Layers,
    pub(crate) problems: &'a mut Vec<ConfigError>,
}

impl Judge<'_> {
    pub(crate) fn settings(mut self, read_file: impl Fn(&Path) -> io::Result<String>) -> Option<Settings> {
        let judge = &mut self;
        let development = judge
            .parse("server.development", "must be true or false", |text| text.parse().ok())
            .unwrap_or(false);
        let (listen, tls, plain_http) = judge.listener(development);
        let (database, masters) = (judge.database(), judge.masters());
        if masters.is_none()
            && judge.layers.get("seal.master_key").is_none()
            && matches!(database, DatabaseUrl::Postgres(_))
        {
            judge.problem("seal.master_key", "must be given with PostgreSQL: each node would make its own");
        }
        Some(Settings {
            listen,
            development,
            workers: judge.workers(),
            body_limit: judge
                .parse("server.body_limit", "must be bytes, from 1024 to 67108864", |text| {
                    bounded(text, 1_024, 64 << 20)
                })
                .unwrap_or(2 << 20),
            request_timeout: judge
                .parse("server.request_timeout", SECONDS, duration)
                .unwrap_or(Duration::from_secs(30)),
            shutdown_timeout: judge
                .parse("server.shutdown_timeout", SECONDS, duration)
                .unwrap_or(Duration::from_secs(10)),
            drain_delay: judge.drain_delay(&database),
            masters,
            master_rotate_every: judge.master_rotate_every(),
            rekey_rate: judge.rekey_rate(),
            migration_url: judge.postgres("database.migration_url"),
            pool: judge.pool(),
            redis: judge.redis(),
            max_staleness: judge.max_staleness(),
            bootstrap_token: judge.bootstrap_token(),
            node: judge.node(read_file),
            issuer: judge.parse(
                "tokens.issuer",
                "must be an https URL, or an http URL on loopback",
                outgoing,
            ),
            signing_key: judge.key_name("tokens.signing_key", "default-signing")?,
            encryption_key: judge.key_name("tokens.encryption_key", "default-encryption")?,
            token_times: judge.token_times(),
            issuers: judge.issuers(),
            providers: judge.providers(),
            tls,
            plain_http,
            ca_file: judge.ca_file(),
            audit: judge.audit(&database),
            backup: judge.backup(&database),
            database,
            rotation_tick: judge.parse("rotation.tick", SECONDS, duration).unwrap_or(Duration::from_secs(1)),
            deletion_waiting_period: judge
                .parse("deletion.waiting_period", SECONDS, |text| text.parse().ok())
                .unwrap_or(HumanDuration::from_days(7)),
            watching: judge.watching(development),
            stores: judge.stores(),
            doors: judge.doors(development),
            limits: judge.limits(),
            responses: judge.responses(),
            alerts: judge.alerts(),
            channels: judge.channels(),
        })
    }

    fn drain_delay(&mut self, database: &DatabaseUrl) -> Duration {
        let rule = "must be a duration such as \"5s\", or \"0s\"";
        let given = self.parse("server.drain_delay", rule, |text| {
            Some(Duration::from_secs(text.parse::<HumanDuration>().ok()?.as_secs()))
        });
        given.unwrap_or(Duration::from_secs(if database.file().is_some() { 0 } else { 5 }))
    }

    fn workers(&mut self) -> usize {
        let rule = "must be a whole number from 1 to 512";
        self.parse("server.workers", rule, |text| bounded(text, 1, 512))
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(2, NonZeroUsize::get))
    }

    /// Parses a setting, if given and right.
    pub(crate) fn parse<T>(
        &mut self,
        setting: &str,
        rule: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let given = self.layers.get(setting)?;
        let parsed = parse(given.text.trim());
        if parsed.is_none() {
            self.problem(given.origin.clone(), rule);
        }
        parsed
    }

    pub(crate) fn problem(&mut self, setting: impl Into<String>, rule: &str) {
        self.problems.push(ConfigError::new(setting, rule));
    }

    /// Where to listen, and how whoever calls is protected.
    fn listener(&mut self, development: bool) -> (SocketAddr, Option<Tls>, bool) {
        let listen = self.listen();
        if development && !listen.ip().is_loopback() {
            self.problem("server.development", "is for loopback only; set server.listen to 127.0.0.1");
        }
        let (tls, plain_http) = (self.tls(), self.plain_http());
        if tls.is_none() && !plain_http && !listen.ip().is_loopback() {
            self.problem(
                "server.listen",
                "would take credentials from other machines in clear; set tls.cert and tls.key, or \
                 server.plain_http to true where something before it speaks TLS",
            );
        }
        (listen, tls, plain_http)
    }

    pub(crate) fn plain_http(&mut self) -> bool {
        self.parse("server.plain_http", "must be true or false", |text| text.parse().ok()).unwrap_or(false)
    }

    pub(crate) fn listen(&mut self) -> SocketAddr {
        self.parse("server.listen", "must be an address such as 127.0.0.1:7420", |text| text.parse().ok())
            .unwrap_or(SocketAddr::from(([127, 0, 0, 1], 7_420)))
    }

    pub(crate) fn database(&mut self) -> DatabaseUrl {
        let sqlite = || DatabaseUrl::Sqlite(PathBuf::from("data/claviger.db"));
        let Some(given) = self.layers.get("database.url") else { return sqlite() };
        if PostgresUrl::parse(given.text.trim()).is_some() {
            return self.postgres("database.url").map_or_else(sqlite, DatabaseUrl::Postgres);
        }
        self.parse("database.url", "must be sqlite://path or postgres://user:password@host/database", file)
            .map_or_else(sqlite, DatabaseUrl::Sqlite)
    }

    fn postgres(&mut self, setting: &str) -> Option<Zeroizing<String>> {
        let given = self.layers.get(setting)?;
        let text = given.text.trim();
        let url = PostgresUrl::parse(text);
        let problem = match &url {
            None => Some("must be postgres://user:password@host/database"),
            Some(url) if !url.is_verified() => Some(
                "lets the database be another one, or speaks in clear; use sslmode=verify-full and sslrootcert",
            ),
            Some(_) => None,
        };
        if let Some(rule) = problem {
            self.problem(given.origin.clone(), rule);
            return None;
        }
        let root = self.layers.get("tls.ca_file").map(|given| given.text.trim());
        Some(Zeroizing::new(postgres::with_root(text, root)))
    }

    pub(crate) fn ca_file(&mut self) -> Option<PathBuf> {
        self.parse("tls.ca_file", "must be a path", path)
    }

    fn redis(&mut self) -> Option<RedisUrl> {
        let given = self.layers.get("redis.url")?;
        RedisUrl::parse(given.text.trim()).map_err(|rule| self.problem(given.origin.clone(), rule)).ok()
    }

    fn max_staleness(&mut self) -> Duration {
        self.parse("cluster.max_staleness", SECONDS, duration).unwrap_or(Duration::from_secs(120))
    }

    fn pool(&mut self) -> Pool {
        let mut connections = |setting, default: usize| {
            let rule = "must be a whole number from 1 to 1000";
            let number = self.parse(setting, rule, |text| bounded(text, 1, 1_000)).unwrap_or(default);
            u32::try_from(number).unwrap_or(1)
        };
        let (min, max) =
            (connections("database.min_connections", 1), connections("database.max_connections", 10));
        if min > max {
            self.problem("database.min_connections", "must not exceed database.max_connections");
        }
        let mut time =
            |setting, default| self.parse(setting, SECONDS, duration).unwrap_or(Duration::from_secs(default));
        let (acquire_timeout, max_lifetime) =
            (time("database.acquire_timeout", 5), time("database.max_lifetime", 3_600));
        Pool { min, max, acquire_timeout, max_lifetime }
    }

    fn stores(&mut self) -> Stores {
        let mut number = |setting, rule: &str, most: usize, default| {
            let number = self.parse(setting, rule, |text| bounded(text, 1, most)).unwrap_or(default);
            u32::try_from(number).unwrap_or(1)
        };
        Stores {
            migration_rate: number(
                "stores.migration_rate",
                "must be rows a second, from 1 to 100000",
                100_000,
                500,
            ),
            migration_batch: number("stores.migration_batch", "must be rows, from 1 to 1000", 1_000, 100),
        }
    }

    fn masters(&mut self) -> Option<MasterSecrets> {
        let given = self.layers.get("seal.master_key")?;
        master::parse(&given.text).map_err(|rule| self.problem(given.origin.clone(), &rule)).ok()
    }

    fn master_rotate_every(&mut self) -> Option<Duration> {
        let rule = "must be a duration such as \"90d\", or \"0s\" for never";
        let given = self.parse("seal.rotate_every", rule, |text| text.parse::<HumanDuration>().ok());
        let every = Duration::from_secs(given.unwrap_or(MASTER_PERIOD).as_secs());
        (!every.is_zero()).then_some(every)
    }

    fn rekey_rate(&mut self) -> u32 {
        let rule = "must be a whole number from 1 to 1000000";
        let rate = self.parse("seal.rekey_rate", rule, |text| bounded(text, 1, 1_000_000));
        rate.and_then(|rate| u32::try_from(rate).ok()).unwrap_or(2_000)
    }

    fn bootstrap_token(&mut self) -> Option<SecretBytes> {
        let rule = "must be at least 16 visible ASCII characters";
        let fits = |text: &str| text.len() >= 16 && text.bytes().all(|byte| byte.is_ascii_graphic());
        self.parse("bootstrap_token", rule, |text| {
            fits(text).then(|| SecretBytes::new(text.as_bytes().to_vec()))
        })
    }

    fn node(&mut self, read_file: impl Fn(&Path) -> io::Result<String>) -> String {
        let rule = "must be 1-128 of A-Z a-z 0-9 . _ - and start with a letter or digit";
        let given = self.parse("node.name", rule, |text| text.parse::<KeyName>().ok());
        given.map_or_else(|| generated_node(read_file), |name| name.as_str().to_owned())
    }

    /// `None` only if the default is no name.
    fn key_name(&mut self, setting: &str, default: &str) -> Option<KeyName> {
        let given = self.parse(setting, "must be the name of a key", |text| text.parse().ok());
        match given.map_or_else(|| default.parse::<KeyName>(), Ok) {
            Ok(name) => Some(name),
            Err(error) => {
                self.problem(setting, error.rule);
                None
            }
        }
    }

    pub(crate) fn tls(&mut self) -> Option<Tls> {
        let mut file = |setting| self.parse(setting, "must be a path", path);
        match (file("tls.cert"), file("tls.key"), file("tls.client_ca")) {
            (Some(cert), Some(key), client_ca) => {
                let client_crl = self.parse("tls.client_crl", "must be a path", path);
                let client_roles = self.client_names();
                if client_ca.is_none() && client_crl.is_some() {
                    self.problem(
                        "tls.client_crl",
                        "needs tls.client_ca: nobody else is asked for a certificate",
                    );
                }
                if client_ca.is_none() && !client_roles.is_empty() {
                    self.problem(
                        "tls.client_roles",
                        "needs tls.client_ca: nobody else is asked for a certificate",
                    );
                }
                return Some(Tls { cert, key, client_ca, client_crl, client_roles });
            }
            (None, None, None) => {
                for setting in ["tls.client_crl", "tls.client_roles"] {
                    if self.layers.get(setting).is_some() {
                        self.problem(setting, "needs tls.cert, tls.key and tls.client_ca");
                    }
                }
            }
            (Some(_), None, _) => self.problem("tls.key", "is missing beside tls.cert"),
            (None, _, _) => self.problem("tls.cert", "is missing beside tls.key or tls.client_ca"),
        }
        None
    }
}

fn file(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("sqlite://")?;
    (!path.is_empty() && !path.contains(['?', '%'])).then(|| PathBuf::from(path))
}

fn generated_node(read_file: impl Fn(&Path) -> io::Result<String>) -> String {
    let host = read_file(Path::new("/proc/sys/kernel/hostname")).unwrap_or_default();
    let host: String = host
        .trim()
        .chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-')
        .take(64)
        .collect();
    let suffix = random::text(4).unwrap_or_default();
    format!("{}-{suffix}", if host.is_empty() { "node" } else { &host })
}

pub(crate) fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

pub(crate) fn duration(text: &str) -> Option<Duration> {
    let seconds = text.parse::<HumanDuration>().ok()?.as_secs();
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

pub(crate) fn bounded(text: &str, least: usize, most: usize) -> Option<usize> {
    text.parse().ok().filter(|number| (least..=most).contains(number))
}

/// Plain http is for loopback: whoever can read the JWKS on its way can exchange it.
pub(crate) fn outgoing(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let host = rest.split('/').next().unwrap_or_default();
    let local = ["localhost", "127.0.0.1", "[::1]"]
        .iter()
        .any(|name| host == *name || host.starts_with(&format!("{name}:")));
    let clean =
        !host.is_empty() && text.len() <= 512 && !text.contains(['?', '#', ' ', '@']) && text.is_ascii();
    (clean && (scheme == "https" || scheme == "http" && local)).then(|| text.trim_end_matches('/').to_owned())
}
