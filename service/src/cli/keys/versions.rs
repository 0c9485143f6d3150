//! What an operator does to versions.

use clap::{Args, ValueEnum};
use claviger_entity::{KeyName, VersionNumber};
use serde_json::{Map, Value, json};

use super::at;
use crate::cli::{body::put, client::Client, failure::Failure};

/// A rotation.
#[derive(Debug, Args)]
pub(super) struct Rotate {
    /// Name of the key.
    name: KeyName,
    /// Rotate even if the standby has not been published long enough; needs a reason.
    #[arg(long, requires = "reason")]
    force: bool,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Whether to wait until every node has the change.
    #[arg(long)]
    consistency: Option<Consistency>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Consistency {
    Strong,
    Eventual,
}

/// A change of one version.
#[derive(Debug, Args)]
pub(super) struct Change {
    /// Name of the key.
    name: KeyName,
    /// Number of the version.
    version: VersionNumber,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// A version in other hands.
#[derive(Debug, Args)]
pub(super) struct Compromise {
    #[command(flatten)]
    change: Change,
    /// What leaked: this version, or the whole store, standby included.
    #[arg(long)]
    exposure: Option<Exposure>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Exposure {
    Version,
    Store,
}

impl Rotate {
    pub(super) async fn run(&self, client: &Client) -> Result<Value, Failure> {
        let mut body = Map::new();
        put(&mut body, "force", self.force.then_some(true));
        put(&mut body, "reason", self.reason.as_deref());
        let consistency = self.consistency.map(|consistency| match consistency {
            Consistency::Strong => "strong",
            Consistency::Eventual => "eventual",
        });
        put(&mut body, "consistency", consistency);
        client.post(&at(&self.name, &["rotate"]), &Value::Object(body)).await
    }
}

impl Change {
    pub(super) async fn run(&self, client: &Client, change: &str) -> Result<Value, Failure> {
        self.send(client, change, &json!({ "reason": self.reason })).await
    }

    async fn send(&self, client: &Client, change: &str, body: &Value) -> Result<Value, Failure> {
        let version = self.version.to_string();
        client.post(&at(&self.name, &["versions", &version, change]), body).await
    }
}

impl Compromise {
    pub(super) async fn run(&self, client: &Client) -> Result<Value, Failure> {
        let exposure = match self.exposure.unwrap_or(Exposure::Version) {
            Exposure::Version => "version",
            Exposure::Store => "store",
        };
        let body = json!({ "reason": self.change.reason, "exposure": exposure });
        self.change.send(client, "compromise", &body).await
    }
}
