//! What a key is to be: `create` and `import`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use claviger_entity::{HumanDuration, KeyName, KeyType, Kid, Tier, Usage};
use serde_json::{Map, Value};

use super::exported::Exported;
use crate::cli::{body::put, failure::Failure, input};

/// A key to create.
#[derive(Debug, Args)]
pub(super) struct NewKey {
    /// Name of the key.
    name: KeyName,
    /// hs256 hs384 hs512 rs256 rs384 rs512 ps256 ps384 ps512 es256 es384 eddsa aes256-gcm hmac-sha256 fernet.
    #[arg(long = "type", value_name = "TYPE")]
    key_type: KeyType,
    /// token, sign, encrypt or mac; by the type unless given.
    #[arg(long)]
    usage: Option<Usage>,
    /// RSA modulus length: 2048, 3072 or 4096.
    #[arg(long)]
    bits: Option<u32>,
    /// signing, data or session; by the type unless given.
    #[arg(long)]
    tier: Option<Tier>,
    /// What it is for.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Rotation period, such as 90d.
    #[arg(long, value_name = "DURATION", conflicts_with = "cron")]
    every: Option<HumanDuration>,
    /// Rotation times: five fields, UTC.
    #[arg(long, value_name = "FIELDS")]
    cron: Option<String>,
    /// Least time between publication of a version and its first signature.
    #[arg(long, value_name = "DURATION")]
    lead: Option<HumanDuration>,
    /// How long a replaced version verifies.
    #[arg(long, value_name = "DURATION")]
    grace: Option<HumanDuration>,
    /// A label; may be repeated.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// The key may be exported, sealed to a recipient.
    #[arg(long)]
    exportable: bool,
    /// The key may be deleted.
    #[arg(long)]
    deletion_allowed: bool,
}

/// A key to import.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("secret").args(["material_file", "legacy_secret_file", "exported_file"]).required(true))]
pub(super) struct Import {
    #[command(flatten)]
    key: NewKey,
    /// Standard base64 of the raw bytes, or an unencrypted PKCS#8 PEM; - is standard input.
    #[arg(long, value_name = "FILE")]
    material_file: Option<PathBuf>,
    /// The single text secret of an older system; its final newline is dropped; - is standard input.
    #[arg(long, value_name = "FILE")]
    legacy_secret_file: Option<PathBuf>,
    /// The answer of `keys export`, of this deployment or another one; - is standard input. The version keeps its identifier.
    #[arg(long, value_name = "FILE", requires = "identity")]
    exported_file: Option<PathBuf>,
    /// File with the age secret key (AGE-SECRET-KEY-1…) that it was exported to.
    #[arg(long, value_name = "FILE", requires = "exported_file")]
    identity: Option<PathBuf>,
    /// Identifier of version 1; derived unless given.
    #[arg(long, allow_hyphen_values = true)]
    kid: Option<Kid>,
}

impl NewKey {
    pub(super) fn body(&self) -> Value {
        Value::Object(self.members())
    }

    fn members(&self) -> Map<String, Value> {
        let mut body = Map::new();
        put(&mut body, "name", Some(self.name.as_str()));
        put(&mut body, "type", Some(self.key_type.as_str()));
        put(&mut body, "usage", self.usage.map(Usage::as_str));
        put(&mut body, "bits", self.bits);
        put(&mut body, "tier", self.tier.map(Tier::as_str));
        put(&mut body, "description", self.description.as_deref());
        let mut rotation = Map::new();
        put(&mut rotation, "every", self.every.map(|every| every.to_string()));
        put(&mut rotation, "cron", self.cron.as_deref());
        put(&mut rotation, "lead", self.lead.map(|lead| lead.to_string()));
        put(&mut rotation, "grace", self.grace.map(|grace| grace.to_string()));
        put(&mut body, "rotation", (!rotation.is_empty()).then_some(rotation));
        let labels: Map<_, _> =
            self.labels.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        put(&mut body, "labels", (!labels.is_empty()).then_some(labels));
        put(&mut body, "exportable", self.exportable.then_some(true));
        put(&mut body, "deletion_allowed", self.deletion_allowed.then_some(true));
        body
    }
}

impl Import {
    /// The request, with the secret read from its file.
    ///
    /// # Errors
    /// The file can't be read or is no text.
    pub(super) fn body(&self) -> Result<Value, Failure> {
        let mut body = self.key.members();
        if let (Some(path), Some(identity)) = (&self.exported_file, &self.identity) {
            let exported = Exported::read(path, identity)?;
            put(&mut body, "kid", Some(exported.kid.as_str()));
            put(&mut body, "material", Some(exported.material.as_str()));
        }
        put(&mut body, "kid", self.kid.as_ref().map(Kid::as_str));
        if let Some(path) = &self.material_file {
            let text = input::text_file("--material-file", path)?;
            put(&mut body, "material", Some(text.as_str()));
        }
        if let Some(path) = &self.legacy_secret_file {
            let text = input::text_file("--legacy-secret-file", path)?;
            put(&mut body, "legacy_secret", Some(text.as_str()));
        }
        Ok(Value::Object(body))
    }
}

fn label(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
