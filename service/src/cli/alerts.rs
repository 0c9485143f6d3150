//! `claviger alerts`: what is not as it should be, who has taken it up, and what is kept quiet.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::{Map, Value};

use super::{
    body::{put, segment},
    client::Client,
    failure::Failure,
    output,
    target::Target,
};

/// Alerts: list, show, ack, silence, silences, unsilence, deliveries, retry.
#[derive(Debug, Args)]
pub(super) struct Alerts {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List alerts, newest first.
    List {
        /// Only those that are open, or only those that are over.
        #[arg(long)]
        state: Option<State>,
    },
    /// Show an alert.
    Show {
        /// Identifier of the alert.
        #[arg(value_parser = segment)]
        id: String,
    },
    /// Take an alert up: nobody else needs to be told of it.
    Ack {
        /// Identifier of the alert.
        #[arg(value_parser = segment)]
        id: String,
        /// A word for the others.
        #[arg(long, value_name = "TEXT")]
        comment: Option<String>,
    },
    /// Keep alerts quiet for a while.
    Silence {
        /// Alerts of this rule; of every rule unless given.
        #[arg(long, value_name = "RULE")]
        rule: Option<String>,
        /// Alerts about this; about whatever unless given.
        #[arg(long, value_name = "TEXT")]
        subject: Option<String>,
        /// For how long, such as 2h; at most 30d.
        #[arg(long, value_name = "DURATION")]
        r#for: String,
        /// Why, for the record.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// List the silences that are in force.
    Silences,
    /// End a silence: what it has kept quiet and is still the case is told.
    Unsilence {
        /// Identifier of the silence.
        #[arg(value_parser = segment)]
        id: String,
    },
    /// List what was, or is to be, told over channels, newest first.
    Deliveries {
        /// Only those that are so.
        #[arg(long)]
        state: Option<DeliveryState>,
        /// Only those of this alert or incident.
        #[arg(long, value_name = "ID")]
        about: Option<String>,
    },
    /// Have messages told again that were given up.
    Retry {
        /// Identifiers of the messages, as `deliveries` shows them.
        #[arg(value_parser = segment, required = true)]
        ids: Vec<String>,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    Open,
    Cleared,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DeliveryState {
    Pending,
    Done,
    Dropped,
    Dead,
}

/// The text of a choice.
fn named(choice: impl ValueEnum) -> String {
    choice.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

impl Alerts {
    /// Runs the command.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let client = Client::authenticated(&self.target)?;
        match self.command {
            Command::List { state } => {
                let state = state.map(named);
                let query: Vec<(&str, &str)> = state.iter().map(|state| ("state", state.as_str())).collect();
                output::json(&client.pages(&["v1", "alerts"], &query).await?)?;
            }
            Command::Show { id } => output::json(&client.get(&["v1", "alerts", &id]).await?)?,
            Command::Ack { id, comment } => {
                let mut body = Map::new();
                put(&mut body, "comment", comment);
                output::json(&client.post(&["v1", "alerts", &id, "ack"], &Value::Object(body)).await?)?;
            }
            Command::Silence { rule, subject, r#for: time, reason } => {
                let mut body = Map::new();
                put(&mut body, "rule", rule);
                put(&mut body, "subject", subject);
                put(&mut body, "for", Some(time));
                put(&mut body, "reason", Some(reason));
                output::json(&client.post(&["v1", "alerts", "silences"], &Value::Object(body)).await?)?;
            }
            Command::Silences => output::json(&client.get(&["v1", "alerts", "silences"]).await?)?,
            Command::Unsilence { id } => {
                client.call(Method::DELETE, &["v1", "alerts", "silences", &id], &[], None).await?;
            }
            Command::Deliveries { state, about } => {
                let state = state.map(named);
                let mut query: Vec<(&str, &str)> = Vec::new();
                query.extend(state.iter().map(|state| ("state", state.as_str())));
                query.extend(about.iter().map(|about| ("about", about.as_str())));
                output::json(&client.pages(&["v1", "alerts", "deliveries"], &query).await?)?;
            }
            Command::Retry { ids } => {
                for id in &ids {
                    let path = ["v1", "alerts", "deliveries", id, "retry"];
                    output::json(&client.post(&path, &Value::Object(Map::new())).await?)?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
