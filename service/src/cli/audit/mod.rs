//! `claviger audit`: what is on record.

mod verify;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::json;

use super::{
    client::Client,
    failure::Failure,
    input::{self, Input},
    output,
    target::Target,
};

/// The audit log: look at events of the whole cluster, at the keys that vouch for the logs, at the hash of a value.
#[derive(Debug, Args)]
pub(super) struct Audit {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List changes and refusals of all nodes, newest first.
    List(List),
    /// Print the public halves of the keys that sign audit logs.
    Keys,
    /// Print the last checkpoint of every node's log, one a line, as `verify --anchors` takes them.
    Checkpoints,
    /// Print what stands in records for a value, which is read from standard input.
    Hash(Input),
    /// Look whether every record of a folder is there and as it was written; needs no server. Exit code 0, 1 with the first bad record, or 2
    /// when it can't be read.
    Verify(verify::Verify),
}

#[derive(Debug, Args)]
struct List {
    /// Events of this name only, such as key_rotated.
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// Events of this key only.
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// Events of this principal only: name or id.
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Events that ended so only: ok, or the code of a problem.
    #[arg(long, value_name = "CODE")]
    outcome: Option<String>,
    /// From this moment on, in RFC 3339.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before this moment, in RFC 3339.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// The newest so many only; all of them unless given.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    limit: Option<u16>,
}

impl Audit {
    /// Runs the command.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let client = || Client::authenticated(&self.target);
        let answer = match self.command {
            Command::Verify(verify) => return verify.run(),
            Command::Checkpoints => {
                let answer = client()?.get(&["v1", "audit", "checkpoints"]).await?;
                let items = answer.get("items").and_then(serde_json::Value::as_array).into_iter().flatten();
                for line in items.filter_map(|item| item.get("line")?.as_str()) {
                    output::bytes(format!("{line}\n").as_bytes())?;
                }
                return Ok(ExitCode::SUCCESS);
            }
            Command::List(list) => list.run(&client()?).await,
            Command::Keys => client()?.get(&["v1", "audit", "keys"]).await,
            Command::Hash(given) => {
                let value = input::text(&given.bytes()?)?;
                client()?.post(&["v1", "audit", "hash"], &json!({ "value": *value })).await
            }
        }?;
        output::json(&answer)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl List {
    async fn run(&self, client: &Client) -> Result<serde_json::Value, Failure> {
        let limit = self.limit.map(|limit| limit.to_string());
        let given = [
            ("event", &self.event),
            ("key", &self.key),
            ("actor", &self.actor),
            ("outcome", &self.outcome),
            ("since", &self.since),
            ("until", &self.until),
            ("limit", &limit),
        ];
        let query: Vec<(&str, &str)> =
            given.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect();
        let path = ["v1", "audit"];
        match limit {
            Some(_) => client.call(Method::GET, &path, &query, None).await,
            None => client.pages(&path, &query).await,
        }
    }
}
