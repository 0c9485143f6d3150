//! `claviger keys`: keys and their versions.

mod data;
mod exported;
mod spec;
mod versions;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use claviger_entity::{HumanDuration, KeyName, Tier, VersionNumber};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{
    body::{object, put},
    client::Client,
    failure::Failure,
    output,
    target::Target,
};

/// Keys: create, look, rotate, use.
#[derive(Debug, Args)]
pub(super) struct Keys {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List keys.
    List {
        /// Only keys of this tier: signing, data or session.
        #[arg(long)]
        tier: Option<Tier>,
        /// Only keys with this label.
        #[arg(long, value_name = "NAME[=VALUE]")]
        label: Option<String>,
    },
    /// Show a key.
    Get {
        /// Name of the key.
        name: KeyName,
    },
    /// Create a key.
    Create(spec::NewKey),
    /// Import a key that comes from elsewhere.
    Import(spec::Import),
    /// Change settings of a key by a JSON merge patch.
    Update {
        /// Name of the key.
        name: KeyName,
        /// Members: rotation, labels, claims, description, deletion_allowed, min_decryption_version.
        #[arg(long, value_name = "JSON", value_parser = object)]
        patch: Map<String, Value>,
    },
    /// List all versions of a key, newest first.
    Versions {
        /// Name of the key.
        name: KeyName,
    },
    /// Make the standby the primary.
    Rotate(versions::Rotate),
    /// Stop a version for now.
    Suspend(versions::Change),
    /// Let a suspended version verify and decrypt again.
    Resume(versions::Change),
    /// Mark a version as being in other hands.
    Compromise(versions::Compromise),
    /// Erase a version's material for good.
    Destroy(versions::Change),
    /// Schedule the destruction of a key that allows it.
    Delete {
        /// Name of the key.
        name: KeyName,
        /// Waiting period, such as 7d.
        #[arg(long, value_name = "DURATION")]
        after: Option<HumanDuration>,
    },
    /// Cancel a scheduled destruction.
    Restore {
        /// Name of the key.
        name: KeyName,
    },
    /// Encrypt standard input.
    Encrypt(data::Sealing),
    /// Decrypt a ciphertext, or the answer of encrypt; writes the plaintext as it is.
    Decrypt(data::Sealing),
    /// Encrypt a ciphertext anew, under the primary.
    Rewrap(data::Sealing),
    /// Sign standard input.
    Sign(data::Signing),
    /// Authenticate standard input with a mac key.
    Hmac(data::Signing),
    /// Verify a signature or code of standard input; exit code 1 if it is not valid.
    Verify(data::Verifying),
    /// Print the public keys of a key.
    Jwks {
        /// Name of the key.
        name: KeyName,
    },
    /// Export an exportable key, sealed to a recipient.
    Export {
        /// Name of the key.
        name: KeyName,
        /// An age X25519 recipient.
        #[arg(long, value_name = "age1…")]
        recipient: String,
        /// Which version; the primary unless given.
        #[arg(long, value_name = "NUMBER")]
        version: Option<VersionNumber>,
    },
}

impl Keys {
    /// Runs the command.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let client = &Client::authenticated(&self.target)?;
        let answer = match self.command {
            Command::List { tier, label } => {
                let mut query = Vec::new();
                query.extend(tier.map(|tier| ("tier", tier.as_str())));
                query.extend(label.as_deref().map(|label| ("label", label)));
                client.pages(&["v1", "keys"], &query).await
            }
            Command::Get { name } => client.get(&at(&name, &[])).await,
            Command::Create(new) => client.post(&["v1", "keys"], &new.body()).await,
            Command::Import(import) => client.post(&["v1", "keys", "import"], &import.body()?).await,
            Command::Update { name, patch } => {
                client.call(Method::PATCH, &at(&name, &[]), &[], Some(&Value::Object(patch))).await
            }
            Command::Versions { name } => client.pages(&at(&name, &["versions"]), &[]).await,
            Command::Rotate(rotate) => rotate.run(client).await,
            Command::Suspend(change) => change.run(client, "suspend").await,
            Command::Resume(change) => change.run(client, "resume").await,
            Command::Compromise(compromise) => compromise.run(client).await,
            Command::Destroy(change) => change.run(client, "destroy").await,
            Command::Delete { name, after } => {
                let after = after.map(|after| after.to_string());
                let query: Vec<_> = after.iter().map(|after| ("after", after.as_str())).collect();
                client.call(Method::DELETE, &at(&name, &[]), &query, None).await
            }
            Command::Restore { name } => client.post(&at(&name, &["restore"]), &json!({})).await,
            Command::Encrypt(sealing) => sealing.encrypt(client).await,
            Command::Decrypt(sealing) => return sealing.decrypt(client).await,
            Command::Rewrap(sealing) => sealing.rewrap(client).await,
            Command::Sign(signing) => signing.run(client, "sign").await,
            Command::Hmac(signing) => signing.run(client, "hmac").await,
            Command::Verify(verifying) => return verifying.run(client).await,
            Command::Jwks { name } => client.get(&at(&name, &["jwks.json"])).await,
            Command::Export { name, recipient, version } => {
                let mut body = Map::new();
                put(&mut body, "recipient", Some(recipient));
                put(&mut body, "version", version.map(VersionNumber::number));
                client.post(&at(&name, &["export"]), &Value::Object(body)).await
            }
        }?;
        output::json(&answer)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Path of something of a key.
fn at<'a>(name: &'a KeyName, rest: &[&'a str]) -> Vec<&'a str> {
    [&["v1", "keys", name.as_str()], rest].concat()
}
