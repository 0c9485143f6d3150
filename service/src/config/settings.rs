//! What the service runs with.

use std::{
    io,
    net::SocketAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use claviger_actors::seal::MasterKeys;
use claviger_crypto::{random, secret::SecretBytes};
use claviger_entity::{HumanDuration, KeyName};

use super::{ConfigError, layers::Layers, master};

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
    /// The SQLite file.
    pub database: PathBuf,
    /// Master secrets; absent = the key file beside the database.
    pub masters: Option<MasterKeys>,
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
    /// TLS.
    pub tls: Option<Tls>,
    /// Where audit records go.
    pub audit_dir: PathBuf,
    /// How often the schedule is looked at.
    pub rotation_tick: Duration,
    /// Waiting period of a deletion.
    pub deletion_waiting_period: HumanDuration,
    /// Filter of log lines.
    pub log_filter: String,
    /// Log lines as JSON.
    pub log_json: bool,
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
}

const SECONDS: &str = "must be a duration such as \"30s\", at least one second";

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
        let mut layers = Layers::merge(file, environment, read_file)?;
        let layers = &mut layers;
        let development = layers
            .parse("server.development", "must be true or false", |text| text.parse().ok())?
            .unwrap_or(false);
        let listen = layers
            .parse("server.listen", "must be an address such as 127.0.0.1:7420", |text| text.parse().ok())?
            .unwrap_or(SocketAddr::from(([127, 0, 0, 1], 7_420)));
        if development && !listen.ip().is_loopback() {
            return Err(ConfigError::new(
                "server.development",
                "is for loopback only; set server.listen to 127.0.0.1",
            ));
        }
        let database = database(layers)?;
        Ok(Self {
            listen,
            development,
            workers: layers
                .parse("server.workers", "must be a whole number from 1 to 512", |text| {
                    bounded(text, 1, 512)
                })?
                .unwrap_or_else(|| std::thread::available_parallelism().map_or(2, NonZeroUsize::get)),
            body_limit: layers
                .parse("server.body_limit", "must be bytes, from 1024 to 67108864", |text| {
                    bounded(text, 1_024, 64 << 20)
                })?
                .unwrap_or(2 << 20),
            request_timeout: layers
                .parse("server.request_timeout", SECONDS, duration)?
                .unwrap_or(Duration::from_secs(30)),
            shutdown_timeout: layers
                .parse("server.shutdown_timeout", SECONDS, duration)?
                .unwrap_or(Duration::from_secs(10)),
            masters: masters(layers)?,
            bootstrap_token: bootstrap_token(layers)?,
            node: node(layers)?,
            issuer: layers.parse(
                "tokens.issuer",
                "must be an https URL, or an http URL on loopback",
                issuer,
            )?,
            signing_key: key_name(layers, "tokens.signing_key", "default-signing")?,
            encryption_key: key_name(layers, "tokens.encryption_key", "default-encryption")?,
            tls: tls(layers)?,
            audit_dir: layers
                .parse("audit.dir", "must be a path", path)?
                .unwrap_or_else(|| database.parent().unwrap_or(Path::new(".")).join("audit")),
            database,
            rotation_tick: layers
                .parse("rotation.tick", SECONDS, duration)?
                .unwrap_or(Duration::from_secs(1)),
            deletion_waiting_period: layers
                .parse("deletion.waiting_period", SECONDS, |text| text.parse().ok())?
                .unwrap_or(HumanDuration::from_days(7)),
            log_filter: layers
                .parse("log.filter", "must be a filter such as info", |text| Some(text.to_owned()))?
                .unwrap_or_else(|| "info".to_owned()),
            log_json: layers
                .parse("log.format", "must be json or text", |text| match text {
                    "json" => Some(true),
                    "text" => Some(false),
                    _ => None,
                })?
                .unwrap_or(!development),
        })
    }
}

fn database(layers: &mut Layers) -> Result<PathBuf, ConfigError> {
    let Some(given) = layers.take("database.url") else { return Ok(PathBuf::from("data/claviger.db")) };
    let url = given.text.trim();
    let rule = if url.starts_with("postgres") {
        "names PostgreSQL, which this release does not support yet; use sqlite://path"
    } else {
        "must be sqlite://path"
    };
    let path = url.strip_prefix("sqlite://").filter(|path| !path.is_empty() && !path.contains(['?', '%']));
    path.map(PathBuf::from).ok_or_else(|| ConfigError::new(given.origin.clone(), rule))
}

fn masters(layers: &mut Layers) -> Result<Option<MasterKeys>, ConfigError> {
    let Some(given) = layers.take("seal.master_key") else { return Ok(None) };
    master::parse(&given.text).map(Some).map_err(|rule| ConfigError::new(given.origin.clone(), rule))
}

fn bootstrap_token(layers: &mut Layers) -> Result<Option<SecretBytes>, ConfigError> {
    let rule = "must be at least 16 visible ASCII characters";
    let fits = |text: &str| text.len() >= 16 && text.bytes().all(|byte| byte.is_ascii_graphic());
    layers
        .parse("bootstrap_token", rule, |text| fits(text).then(|| SecretBytes::new(text.as_bytes().to_vec())))
}

fn node(layers: &mut Layers) -> Result<String, ConfigError> {
    let rule = "must be 1-128 of A-Z a-z 0-9 . _ - and start with a letter or digit";
    let given = layers.parse("node.name", rule, |text| text.parse::<KeyName>().ok())?;
    Ok(given.map_or_else(generated_node, |name| name.as_str().to_owned()))
}

fn generated_node() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String = host
        .trim()
        .chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-')
        .take(64)
        .collect();
    let suffix = random::text(4).unwrap_or_default();
    format!("{}-{suffix}", if host.is_empty() { "node" } else { &host })
}

fn key_name(layers: &mut Layers, setting: &str, default: &str) -> Result<KeyName, ConfigError> {
    let given = layers.parse(setting, "must be the name of a key", |text| text.parse().ok())?;
    match given.map_or_else(|| default.parse(), Ok) {
        Ok(name) => Ok(name),
        Err(error) => Err(ConfigError::new(setting, error.rule)),
    }
}

fn tls(layers: &mut Layers) -> Result<Option<Tls>, ConfigError> {
    let mut file = |setting| layers.parse(setting, "must be a path", path);
    match (file("tls.cert")?, file("tls.key")?, file("tls.client_ca")?) {
        (Some(cert), Some(key), client_ca) => Ok(Some(Tls { cert, key, client_ca })),
        (None, None, None) => Ok(None),
        (Some(_), None, _) => Err(ConfigError::new("tls.key", "is missing beside tls.cert")),
        (None, _, _) => Err(ConfigError::new("tls.cert", "is missing beside tls.key or tls.client_ca")),
    }
}

fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

fn duration(text: &str) -> Option<Duration> {
    let seconds = text.parse::<HumanDuration>().ok()?.as_secs();
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

fn bounded(text: &str, least: usize, most: usize) -> Option<usize> {
    text.parse().ok().filter(|number| (least..=most).contains(number))
}

/// Plain http is for loopback: whoever can read the JWKS on its way can exchange it.
fn issuer(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let host = rest.split('/').next().unwrap_or_default();
    let local = ["localhost", "127.0.0.1", "[::1]"]
        .iter()
        .any(|name| host == *name || host.starts_with(&format!("{name}:")));
    let clean =
        !host.is_empty() && text.len() <= 512 && !text.contains(['?', '#', ' ', '@']) && text.is_ascii();
    (clean && (scheme == "https" || scheme == "http" && local)).then(|| text.trim_end_matches('/').to_owned())
}
