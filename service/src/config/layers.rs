//! The layers of configuration, merged into one text per setting.

use std::{collections::BTreeMap, io, path::Path};

use figment::{
    Figment,
    providers::{Format as _, Toml},
    value::{Dict, Value},
};
use zeroize::Zeroizing;

use super::ConfigError;

/// Every setting there is; `true` marks secrets.
const SETTINGS: &[(&str, bool)] = &[
    ("server.listen", false),
    ("server.development", false),
    ("server.workers", false),
    ("server.body_limit", false),
    ("server.request_timeout", false),
    ("server.shutdown_timeout", false),
    ("database.url", false),
    ("seal.master_key", true),
    ("bootstrap_token", true),
    ("node.name", false),
    ("tokens.issuer", false),
    ("tokens.signing_key", false),
    ("tokens.encryption_key", false),
    ("tls.cert", false),
    ("tls.key", false),
    ("tls.client_ca", false),
    ("audit.dir", false),
    ("rotation.tick", false),
    ("deletion.waiting_period", false),
    ("log.filter", false),
    ("log.format", false),
];

const PREFIX: &str = "CLAVIGER_";
/// Variables of client commands and of this very option, which the server leaves alone.
const FOREIGN: &[&str] = &["CLAVIGER_URL", "CLAVIGER_TOKEN", "CLAVIGER_TOKEN_FILE"];

/// A setting's text and where it came from.
pub(super) struct Given {
    pub(super) origin: String,
    pub(super) text: Zeroizing<String>,
}

pub(super) struct Layers(BTreeMap<&'static str, Given>);

impl Layers {
    pub(super) fn merge(
        file: Option<&str>,
        environment: impl IntoIterator<Item = (String, String)>,
        read_file: impl Fn(&Path) -> io::Result<String>,
    ) -> Result<Self, ConfigError> {
        let mut given = BTreeMap::new();
        if let Some(text) = file {
            for (name, text) in flatten(text)? {
                let (setting, secret) = known(&name)?;
                if secret {
                    return Err(ConfigError::new(
                        name,
                        "is a secret; give it by environment or file, not in the configuration file",
                    ));
                }
                given.insert(setting, Given { origin: name, text: text.into() });
            }
        }
        let mut direct = BTreeMap::new();
        let mut by_file = BTreeMap::new();
        for (variable, value) in environment {
            let Some(name) = variable.strip_prefix(PREFIX) else { continue };
            if FOREIGN.contains(&variable.as_str()) {
                continue;
            }
            let name = name.replace("__", ".").to_ascii_lowercase();
            match (lookup(&name), name.strip_suffix("_file").and_then(lookup)) {
                (Some((setting, _)), _) => drop(direct.insert(setting, (variable, value))),
                (None, Some((setting, true))) => drop(by_file.insert(setting, (variable, value))),
                (None, Some((_, false)) | None) => {
                    return Err(ConfigError::new(
                        variable,
                        "is no setting of this service; see docs/configuration.md",
                    ));
                }
            }
        }
        for (setting, (variable, path)) in by_file {
            if let Some((other, _)) = direct.get(setting) {
                return Err(ConfigError::new(
                    variable,
                    format!("and {other} are both set; keep one of them"),
                ));
            }
            let text = Zeroizing::new(read_file(Path::new(&path)).map_err(|error| {
                ConfigError::new(
                    variable.clone(),
                    format!("names a file that can't be read ({})", error.kind()),
                )
            })?);
            let text =
                text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
            given.insert(setting, Given { origin: variable, text: text.to_owned().into() });
        }
        for (setting, (variable, value)) in direct {
            given.insert(setting, Given { origin: variable, text: value.into() });
        }
        Ok(Self(given))
    }

    pub(super) fn take(&mut self, setting: &str) -> Option<Given> {
        self.0.remove(setting)
    }

    /// Parses a setting, if given.
    pub(super) fn parse<T>(
        &mut self,
        setting: &str,
        rule: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        self.take(setting)
            .map(|given| parse(given.text.trim()).ok_or_else(|| ConfigError::new(given.origin.clone(), rule)))
            .transpose()
    }
}

fn lookup(name: &str) -> Option<(&'static str, bool)> {
    SETTINGS.iter().find(|(setting, _)| *setting == name).copied()
}

fn known(name: &str) -> Result<(&'static str, bool), ConfigError> {
    lookup(name)
        .ok_or_else(|| ConfigError::new(name, "is no setting of this service; see docs/configuration.md"))
}

/// `section.key` and text of every value in a TOML file.
fn flatten(text: &str) -> Result<Vec<(String, String)>, ConfigError> {
    let dict: Dict = Figment::from(Toml::string(text))
        .extract()
        .map_err(|_| ConfigError::new("the configuration file", "is not valid TOML"))?;
    let mut flat = Vec::new();
    let scalar = |name: &str, value: &Value| {
        scalar(value).ok_or_else(|| ConfigError::new(name, "must be a text, number or boolean"))
    };
    for (name, value) in dict {
        if let Value::Dict(_, section) = &value {
            for (key, value) in section {
                let name = format!("{name}.{key}");
                let text = scalar(&name, value)?;
                flat.push((name, text));
            }
        } else {
            let text = scalar(&name, &value)?;
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
