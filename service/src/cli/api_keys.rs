//! `claviger api-keys`: credentials of other callers.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use claviger_entity::HumanDuration;
use reqwest::Method;
use serde_json::{Map, Value};

use super::{
    body::{put, segment},
    client::Client,
    failure::Failure,
    output,
    target::Target,
};

/// API keys: create, list, rotate, delete.
#[derive(Debug, Args)]
pub(super) struct ApiKeys {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List API keys; their secrets are not shown.
    List,
    /// Create an API key; its secret is shown once, now.
    Create {
        /// Name of the caller.
        name: String,
        /// What it may do; may be repeated.
        #[arg(long = "role", value_name = "ROLE", required = true)]
        roles: Vec<String>,
        /// When it ends: RFC 3339, such as 2027-01-31T00:00:00Z.
        #[arg(long, value_name = "TIME", value_parser = time)]
        expires_at: Option<String>,
    },
    /// Replace the secret; the new one is shown once, now.
    Rotate {
        /// Identifier of the API key.
        #[arg(value_parser = segment)]
        id: String,
        /// How long the old secret stays good, such as 1h.
        #[arg(long, value_name = "DURATION")]
        overlap: Option<HumanDuration>,
    },
    /// Delete an API key; it is refused from now on.
    Delete {
        /// Identifier of the API key.
        #[arg(value_parser = segment)]
        id: String,
    },
}

impl ApiKeys {
    /// Runs the command.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let client = Client::authenticated(&self.target)?;
        let mut body = Map::new();
        let answer = match &self.command {
            Command::List => client.pages(&["v1", "api-keys"], &[]).await,
            Command::Create { name, roles, expires_at } => {
                put(&mut body, "name", Some(name.as_str()));
                put(&mut body, "roles", Some(roles.as_slice()));
                put(&mut body, "expires_at", expires_at.as_deref());
                client.post(&["v1", "api-keys"], &Value::Object(body)).await
            }
            Command::Rotate { id, overlap } => {
                put(&mut body, "overlap", overlap.map(|overlap| overlap.to_string()));
                client.post(&["v1", "api-keys", id, "rotate"], &Value::Object(body)).await
            }
            Command::Delete { id } => client.call(Method::DELETE, &["v1", "api-keys", id], &[], None).await,
        }?;
        output::answer(&answer)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn time(text: &str) -> Result<String, &'static str> {
    let time = chrono::DateTime::parse_from_rfc3339(text);
    time.map(|_| text.to_owned()).map_err(|_| "must be a time such as 2027-01-31T00:00:00Z")
}
