//! The layers of configuration, merged into one text per setting.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use figment::{
    Figment,
    providers::{Format as _, Toml},
    value::{Dict, Value},
};
use zeroize::Zeroizing;

use crate::ConfigError;

/// What a setting may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// Nothing secret.
    Plain,
    /// Perhaps a password: a file may be named instead.
    Password,
    /// A secret: not in the configuration file.
    Secret,
}

use Holds::{Password, Plain, Secret};

/// Every setting there is.
const SETTINGS: &[(&str, Holds)] = &[
    ("server.listen", Plain),
    ("server.internal_listen", Plain),
    ("server.development", Plain),
    ("server.plain_http", Plain),
    ("server.workers", Plain),
    ("server.body_limit", Plain),
    ("server.request_timeout", Plain),
    ("server.shutdown_timeout", Plain),
    ("server.drain_delay", Plain),
    ("database.url", Password),
    ("database.migration_url", Password),
    ("database.min_connections", Plain),
    ("database.max_connections", Plain),
    ("database.acquire_timeout", Plain),
    ("database.max_lifetime", Plain),
    ("cluster.max_staleness", Plain),
    ("redis.url", Password),
    ("seal.master_key", Secret),
    ("seal.rotate_every", Plain),
    ("seal.rekey_rate", Plain),
    ("bootstrap_token", Secret),
    ("node.name", Plain),
    ("tokens.issuer", Plain),
    ("tokens.signing_key", Plain),
    ("tokens.encryption_key", Plain),
    ("tokens.access_ttl", Plain),
    ("tokens.refresh_ttl", Plain),
    ("tokens.reuse_leeway", Plain),
    ("tokens.max_revocations", Plain),
    ("issuers", Plain),
    ("auth.trusted_proxies", Plain),
    ("auth.proxy_user_header", Plain),
    ("auth.failed_attempts", Plain),
    ("auth.mesh", Plain),
    ("limits.principal", Plain),
    ("limits.key", Plain),
    ("limits.address", Plain),
    ("limits.failures", Plain),
    ("limits.grants", Plain),
    ("http.cors_origins", Plain),
    ("ws.password_file", Plain),
    ("ws.require_device", Plain),
    ("ws.local_without_nonce", Plain),
    ("ws.handshake_timeout", Plain),
    ("ws.sessions_per_principal", Plain),
    ("providers", Password),
    ("tls.cert", Plain),
    ("tls.key", Plain),
    ("tls.client_ca", Plain),
    ("tls.client_crl", Plain),
    ("tls.client_roles", Plain),
    ("tls.ca_file", Plain),
    ("audit.dir", Plain),
    ("audit.level", Plain),
    ("audit.fsync", Plain),
    ("audit.write_timeout", Plain),
    ("audit.segment_bytes", Plain),
    ("audit.checkpoint_interval", Plain),
    ("audit.keep", Plain),
    ("audit.required_sinks", Plain),
    ("audit.optional_sinks", Plain),
    ("backup.schedule", Plain),
    ("backup.directory", Plain),
    ("backup.recipient", Plain),
    ("backup.keep", Plain),
    ("rotation.tick", Plain),
    ("deletion.waiting_period", Plain),
    ("stores.migration_rate", Plain),
    ("stores.migration_batch", Plain),
    ("incidents.high", Plain),
    ("incidents.medium", Plain),
    ("incidents.low", Plain),
    ("alerts.tick", Plain),
    ("alerts.window", Plain),
    ("alerts.learning", Plain),
    ("alerts.rules", Plain),
    ("alerts.runbook", Plain),
    ("alerts.escalate_after", Plain),
    ("channels", Password),
    ("metrics.keys", Plain),
    ("telemetry.otlp_endpoint", Plain),
    ("telemetry.sample_ratio", Plain),
    ("log.filter", Plain),
    ("log.format", Plain),
];

/// The settings of sections that are tables themselves.
const TABLES: [&str; 3] = ["auth.mesh", "alerts.rules", "tls.client_roles"];
/// The settings that are maps.
const MAPS: [&str; 3] = ["issuers", "providers", "channels"];
/// The maps whose members may be given one by one: they hold secrets, which have files of their own.
const WITH_MEMBERS: [(&str, &[(&str, bool)]); 2] = [("providers", &OF_PROVIDERS), ("channels", &OF_CHANNELS)];
/// Members of channels, and whether a file may be named instead.
const OF_CHANNELS: [(&str, bool); 15] = [
    ("type", false),
    ("url", true),
    ("secret", true),
    ("least", false),
    ("escalations_only", false),
    ("host", false),
    ("port", false),
    ("tls", false),
    ("username", false),
    ("password", true),
    ("from", false),
    ("to", false),
    ("content_type", false),
    ("authorization", true),
    ("body", true),
];
/// Members of providers, likewise.
const OF_PROVIDERS: [(&str, bool); 9] = [
    ("token_endpoint", false),
    ("client_id", false),
    ("client_secret", true),
    ("auth_style", false),
    ("revocation_endpoint", false),
    ("introspection_endpoint", false),
    ("jwks_uri", false),
    ("issuer", false),
    ("audience", false),
];
const PREFIX: &str = "CLAVIGER_";
/// Variables of client commands and of this very option, which the server leaves alone.
const FOREIGN: &[&str] = &["CLAVIGER_URL", "CLAVIGER_TOKEN", "CLAVIGER_TOKEN_FILE", "CLAVIGER_CA_FILE"];

/// A setting's text and where it came from.
pub struct Given {
    /// The setting as written: an environment variable or `section.key`.
    pub origin: String,
    /// Its text, as it was given.
    pub text: Zeroizing<String>,
    /// The file that the text was read from, of a `_FILE` variable.
    pub file: Option<PathBuf>,
}

/// What was given for each setting, and by whom the last word was spoken.
pub struct Layers {
    settings: BTreeMap<&'static str, Given>,
    members: Vec<Member>,
}

/// A member of an entry of a map that has a variable of its own.
pub(crate) struct Member {
    /// The map.
    pub(crate) map: &'static str,
    /// The entry, as a variable can spell it.
    pub(crate) entry: String,
    /// The member.
    pub(crate) key: String,
    /// Its text.
    pub(crate) text: Zeroizing<String>,
}

impl Layers {
    /// Merges the layers. What does not fit is added to the problems and left out, so that one mistake does not hide another.
    pub(crate) fn merge(
        file: Option<&str>,
        environment: impl IntoIterator<Item = (String, String)>,
        read_file: impl Fn(&Path) -> io::Result<String>,
        problems: &mut Vec<ConfigError>,
    ) -> Self {
        let mut given = BTreeMap::new();
        from_file(file.unwrap_or_default(), &mut given, problems);
        let environment: Vec<(String, String)> = environment.into_iter().collect();
        let members = members(&environment, &read_file, problems);
        let (direct, by_file) = from_environment(environment, problems);
        for (setting, (variable, path)) in by_file {
            if let Some((other, _)) = direct.get(setting) {
                problems
                    .push(ConfigError::new(variable, format!("and {other} are both set; keep one of them")));
                continue;
            }
            let path = PathBuf::from(path);
            match read_file(&path).map(Zeroizing::new) {
                Ok(text) => {
                    let text = without_newline(&text).to_owned().into();
                    given.insert(setting, Given { origin: variable, text, file: Some(path) });
                }
                Err(error) => problems.push(ConfigError::new(
                    variable,
                    format!("names a file that can't be read ({})", error.kind()),
                )),
            }
        }
        for (setting, (variable, value)) in direct {
            given.insert(setting, Given { origin: variable, text: value.into(), file: None });
        }
        Self { settings: given, members }
    }

    /// What was given for a setting.
    #[must_use]
    pub fn get(&self, setting: &str) -> Option<&Given> {
        self.settings.get(setting)
    }

    /// Every setting that was given, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Given)> {
        self.settings.iter().map(|(setting, given)| (*setting, given))
    }
}

impl Layers {
    /// Members of entries of a map that have variables of their own.
    pub(crate) fn members(&self, map: &str) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(move |member| member.map == map)
    }
}

/// A member as a variable names it: map, entry, member, and whether the text is in a file.
type Named<'a> = (&'static str, &'a str, &'static str, bool);

/// The member of the name of a variable: `<map>.<entry>.<member>`.
fn member_of(name: &str) -> Option<Named<'_>> {
    WITH_MEMBERS.iter().find_map(|(map, members)| {
        let (entry, key) = name.strip_prefix(map)?.strip_prefix('.')?.split_once('.')?;
        let is = |(member, has_file): &(&'static str, bool)| {
            let in_file = *has_file && key.strip_suffix("_file") == Some(*member);
            (key == *member || in_file).then_some((*map, entry, *member, in_file))
        };
        members.iter().find_map(is).filter(|_| !entry.is_empty())
    })
}

fn spelled(variable: &str) -> Option<String> {
    Some(variable.strip_prefix(PREFIX)?.replace("__", ".").to_ascii_lowercase())
}

/// Members of entries of maps out of the environment; a file stands for its text.
fn members(
    environment: &[(String, String)],
    read_file: impl Fn(&Path) -> io::Result<String>,
    problems: &mut Vec<ConfigError>,
) -> Vec<Member> {
    let mut members = Vec::new();
    for (variable, value) in environment {
        let Some(name) = spelled(variable) else { continue };
        let Some((map, entry, key, in_file)) = member_of(&name) else { continue };
        let (entry, key) = (entry.to_owned(), key.to_owned());
        if !in_file {
            members.push(Member { map, entry, key, text: value.clone().into() });
            continue;
        }
        let is_direct = |(other, _): &&(String, String)| {
            spelled(other).is_some_and(|other| format!("{other}_file") == name)
        };
        if let Some((other, _)) = environment.iter().find(is_direct) {
            let rule = format!("and {other} are both set; keep one of them");
            problems.push(ConfigError::new(variable.clone(), rule));
            continue;
        }
        match read_file(Path::new(value)).map(Zeroizing::new) {
            Ok(text) => {
                members.push(Member { map, entry, key, text: without_newline(&text).to_owned().into() })
            }
            Err(error) => problems.push(ConfigError::new(
                variable.clone(),
                format!("names a file that can't be read ({})", error.kind()),
            )),
        }
    }
    members
}

/// Settings of the TOML file.
fn from_file(text: &str, given: &mut BTreeMap<&'static str, Given>, problems: &mut Vec<ConfigError>) {
    let flat = match flatten(text) {
        Ok(flat) => flat,
        Err(problem) => return problems.push(problem),
    };
    for (name, text) in flat {
        let known = text.and_then(|text| Ok((known(&name)?, text)));
        let ((setting, holds), text) = match known {
            Ok(known) => known,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        if holds == Secret {
            problems.push(ConfigError::new(
                name.clone(),
                "is a secret; give it by environment or file, not in the configuration file",
            ));
        }
        given.insert(setting, Given { origin: name, text: text.into(), file: None });
    }
}

/// Variable and value of each setting.
type Variables = BTreeMap<&'static str, (String, String)>;

/// Settings of the environment: as themselves, and as files.
fn from_environment(
    environment: impl IntoIterator<Item = (String, String)>,
    problems: &mut Vec<ConfigError>,
) -> (Variables, Variables) {
    let (mut direct, mut by_file) = (BTreeMap::new(), BTreeMap::new());
    for (variable, value) in environment {
        let Some(name) = variable.strip_prefix(PREFIX) else { continue };
        if FOREIGN.contains(&variable.as_str()) {
            continue;
        }
        let name = name.replace("__", ".").to_ascii_lowercase();
        if member_of(&name).is_some() {
            continue;
        }
        match (lookup(&name), name.strip_suffix("_file").and_then(lookup)) {
            (Some((setting, _)), _) => drop(direct.insert(setting, (variable, value))),
            (None, Some((setting, Password | Secret))) => drop(by_file.insert(setting, (variable, value))),
            (None, Some((_, Plain)) | None) => problems
                .push(ConfigError::new(variable, "is no setting of this service; see docs/configuration.md")),
        }
    }
    (direct, by_file)
}

/// What an editor or `echo` has left at the end of a secret is none of it.
#[must_use]
pub fn without_newline(text: &str) -> &str {
    text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text))
}

fn lookup(name: &str) -> Option<(&'static str, Holds)> {
    SETTINGS.iter().find(|(setting, _)| *setting == name).copied()
}

fn known(name: &str) -> Result<(&'static str, Holds), ConfigError> {
    lookup(name)
        .ok_or_else(|| ConfigError::new(name, "is no setting of this service; see docs/configuration.md"))
}

/// `section.key` of every value in a TOML file, and its text if it has one.
type Flat = Vec<(String, Result<String, ConfigError>)>;

fn flatten(text: &str) -> Result<Flat, ConfigError> {
    let dict: Dict = Figment::from(Toml::string(text))
        .extract()
        .map_err(|_| ConfigError::new("the configuration file", "is not valid TOML"))?;
    let mut flat = Vec::new();
    let scalar = |name: &str, value: &Value| {
        scalar(value).ok_or_else(|| ConfigError::new(name, "must be a text, number or boolean"))
    };
    for (name, value) in dict {
        if MAPS.contains(&name.as_str()) && value.as_dict().is_some() {
            // A map of tables, whose names are the operator's: one setting, as the environment gives it.
            let text = serde_json::to_string(&value).map_err(|_| ConfigError::new(&name, "can't be read"));
            flat.push((name, text));
        } else if let Value::Dict(_, section) = &value {
            for (key, value) in section {
                let name = format!("{name}.{key}");
                let text = if TABLES.contains(&name.as_str()) && value.as_dict().is_some() {
                    serde_json::to_string(value).map_err(|_| ConfigError::new(&name, "can't be read"))
                } else {
                    scalar(&name, value)
                };
                flat.push((name, text));
            }
        } else {
            let text = scalar(&name, &value);
            flat.push((name, text));
        }
    }
    Ok(flat)
}

fn scalar(value: &Value) -> Option<String> {
    value
        .as_str()
        .map(str::to_owned)
        .or_else(|| value.to_bool().map(|value| value.to_string()))
        .or_else(|| value.to_i128().map(|value| value.to_string()))
}
