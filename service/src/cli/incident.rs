//! `claviger incident`: what is in other hands, and what is done about it.

use std::{process::ExitCode, time::Duration};

use clap::{Args, Subcommand, ValueEnum};
use claviger_entity::KeyName;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{
    body::{member, put, segment},
    client::Client,
    failure::Failure,
    output,
    target::Target,
};

/// Pause between two looks at an incident that is being dealt with.
const LOOK: Duration = Duration::from_millis(500);

/// Incidents: open, show, list, approve, close.
#[derive(Debug, Args)]
pub(super) struct Incident {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Open an incident; by its level its playbook is run at once. Exit code 1 if a step has failed.
    Open(Open),
    /// Show an incident with what came of its steps, and its report.
    Show {
        /// Identifier of the incident.
        #[arg(value_parser = segment)]
        id: String,
        /// Print steps as they are done, until it is over.
        #[arg(long)]
        follow: bool,
    },
    /// List incidents, newest first.
    List,
    /// Run the playbook of an incident that waits, or the steps of one that have failed.
    Approve {
        /// Identifier of the incident.
        #[arg(value_parser = segment)]
        id: String,
    },
    /// Say that an incident is over: whatever it shut out is let in again.
    Close {
        /// Identifier of the incident.
        #[arg(value_parser = segment)]
        id: String,
    },
}

#[derive(Debug, Args)]
#[group(id = "about", required = true, multiple = false, args = ["key", "principal", "issuer", "node", "all"])]
struct Open {
    /// A key is in other hands.
    #[arg(long, value_name = "NAME")]
    key: Option<KeyName>,
    /// Somebody else acts as this principal: id of an API key, id of a device, or claim sub.
    #[arg(long, value_name = "ID")]
    principal: Option<String>,
    /// Tokens of this issuer are not to be believed.
    #[arg(long, value_name = "ISS")]
    issuer: Option<String>,
    /// A node is in other hands.
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// The whole store is in other hands.
    #[arg(long)]
    all: bool,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// How sure you are; the server's settings say what follows.
    #[arg(long)]
    level: Option<Level>,
    /// Since when it may have been so: RFC 3339, such as 2027-01-31T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// The standby of the key leaked too.
    #[arg(long, requires = "key")]
    store: bool,
    /// Only say what would be done and reached.
    #[arg(long)]
    dry_run: bool,
    /// The same key opens the same incident once.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Level {
    High,
    Medium,
    Low,
}

impl Open {
    fn body(&self) -> Value {
        let mut body = Map::new();
        put(&mut body, "key", self.key.as_ref().map(KeyName::as_str));
        put(&mut body, "principal", self.principal.as_deref());
        put(&mut body, "issuer", self.issuer.as_deref());
        put(&mut body, "node", self.node.as_deref());
        put(&mut body, "all", self.all.then_some(true));
        put(&mut body, "reason", Some(self.reason.as_str()));
        let level = self.level.map(|level| match level {
            Level::High => "high",
            Level::Medium => "medium",
            Level::Low => "low",
        });
        put(&mut body, "level", level);
        put(&mut body, "since", self.since.as_deref());
        put(&mut body, "exposure", self.store.then_some("store"));
        put(&mut body, "dry_run", self.dry_run.then_some(true));
        Value::Object(body)
    }
}

impl Incident {
    /// Runs the command.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let client = Client::authenticated(&self.target)?;
        match &self.command {
            Command::Open(open) => {
                let key = open.idempotency_key.as_deref();
                let opened = client.post_once(&["v1", "incidents"], &open.body(), key).await?;
                if open.dry_run {
                    output::json(&opened)?;
                    return Ok(ExitCode::SUCCESS);
                }
                ended(&client, opened).await
            }
            Command::Show { id, follow: true } => {
                ended(&client, client.get(&["v1", "incidents", id]).await?).await
            }
            Command::Show { id, follow: false } => {
                output::json(&client.get(&["v1", "incidents", id]).await?)?;
                Ok(ExitCode::SUCCESS)
            }
            Command::List => {
                output::json(&client.pages(&["v1", "incidents"], &[]).await?)?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Approve { id } => {
                let path = ["v1", "incidents", id, "approve"];
                ended(&client, client.post(&path, &json!({})).await?).await
            }
            Command::Close { id } => {
                let path = ["v1", "incidents", id, "close"];
                output::json(&client.call(Method::POST, &path, &[], Some(&json!({}))).await?)?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

/// Prints each step once it is over, one line each, and at the end the whole incident.
async fn ended(client: &Client, mut incident: Value) -> Result<ExitCode, Failure> {
    let mut told = 0;
    loop {
        let steps = incident.get("steps").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let over: Vec<&Value> = steps.iter().filter(|step| !member(step, "state").is_null()).collect();
        for step in over.iter().skip(told) {
            let mut line = Map::new();
            for member in ["step", "to", "state", "outcome", "node", "at"] {
                put(&mut line, member, step.get(member).cloned());
            }
            output::event(&Value::Object(line))?;
        }
        told = told.max(over.len());
        if member(&incident, "state").as_str() != Some("running") {
            break;
        }
        tokio::time::sleep(LOOK).await;
        let id = member(&incident, "id").as_str().unwrap_or_default().to_owned();
        incident = client.get(&["v1", "incidents", &id]).await?;
    }
    output::json(&incident)?;
    Ok(if member(&incident, "state").as_str() == Some("failed") {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
