//! What the settings give: places, keys, and ways to others.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use claviger_actors::{
    alerts::{AlertSettings, Deliver},
    cluster::{HintError, RedisLink, RedisPlace},
    incidents::{IncidentSettings, Mode},
    keyring::{
        boot::{DefaultKeys, Identity},
        policy,
    },
    masters::{GivenMasters, MasterSettings},
    quotas::{Class, Quota},
    seal::MasterKeys,
    store::{Place, Pool},
    stores::Pace,
};
use claviger_crypto::secret::SecretBytes;

use super::StartError;
use crate::{
    alerts, authorities,
    backup::Backups,
    channels::Channels,
    config::{DatabaseUrl, Limits, RedisUrl, Response, Settings},
    files,
};

/// Quotas, in the order of [`Class::ALL`].
pub(super) fn quotas_of(limits: &Limits) -> [Option<Quota>; 5] {
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
pub(super) fn incident_settings(settings: &Settings) -> IncidentSettings {
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

/// When something is an alert, and the ways to tell people.
pub(super) fn alerting(settings: &Settings) -> Result<(AlertSettings, Arc<dyn Deliver>), StartError> {
    let at = |setting| move |cause| StartError::Setting { setting, cause };
    let alerts = alerts::settings(settings).map_err(|rule| at("alerts.rules")(invalid(&rule)))?;
    let channels = Channels::new(&settings.channels, settings.ca_file.as_deref());
    Ok((alerts, Arc::new(channels.map_err(at("channels"))?)))
}

/// How fast stores are moved under another key.
pub(super) const fn pace(settings: &Settings) -> Pace {
    Pace { rate: settings.stores.migration_rate, batch: settings.stores.migration_batch }
}

/// Backups, as the settings say.
pub(super) fn backups(settings: &Settings) -> io::Result<Backups> {
    if let Some(schedule) = &settings.backup.schedule
        && policy::last_due(schedule, chrono::DateTime::UNIX_EPOCH).is_err()
    {
        return Err(invalid("schedule must be five fields of cron, in UTC"));
    }
    Backups::new(settings).map_err(|error| invalid(&error.to_string()))
}

/// The way to Redis. One that is away is waited for while the node serves; one that is of no use is a setting to be put right.
pub(super) async fn redis(settings: &Settings) -> Result<Option<RedisLink>, StartError> {
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

pub(super) const fn master_settings(settings: &Settings) -> MasterSettings {
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

pub(super) fn bootstrap_token(
    settings: &Settings,
    folder: &Path,
) -> io::Result<(SecretBytes, Option<PathBuf>)> {
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
pub(super) fn issuer(
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

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text.to_owned())
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
