//! `claviger secrets`: what is stored for owners.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use reqwest::{
    Method,
    header::{IF_MATCH, IF_NONE_MATCH},
};
use serde_json::{Map, Value};

use super::{
    body::{put, segment},
    client::Client,
    failure::Failure,
    input::{self, Input},
    output,
    target::Target,
};

/// Secrets: put, get, list, delete.
#[derive(Debug, Args)]
pub(super) struct Secrets {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: Command,
}

/// Which secret.
#[derive(Debug, Args)]
struct Named {
    /// Whose.
    #[arg(value_parser = segment)]
    owner: String,
    /// Its name.
    #[arg(value_parser = segment)]
    name: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a secret, new or anew; its value is standard input or a file, without the final newline.
    Put {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        input: Input,
        /// What it is for; kept in clear.
        #[arg(long)]
        description: Option<String>,
        /// Only if this is its entity tag, as `get` with --json prints it.
        #[arg(long, conflicts_with = "new")]
        if_match: Option<String>,
        /// Only if there is none yet.
        #[arg(long)]
        new: bool,
    },
    /// Print the value of a secret.
    Get {
        #[command(flatten)]
        named: Named,
        /// One of the last ten versions.
        #[arg(long)]
        version: Option<u64>,
        /// Print all that is known of it, with its entity tag.
        #[arg(long)]
        json: bool,
    },
    /// List the secrets of an owner, without values.
    List {
        /// Whose.
        #[arg(value_parser = segment)]
        owner: String,
    },
    /// List the versions of a secret that are kept, without values.
    Versions {
        #[command(flatten)]
        named: Named,
    },
    /// Delete a secret with its history.
    Delete {
        #[command(flatten)]
        named: Named,
    },
}

impl Named {
    fn path(&self) -> [&str; 4] {
        ["v1", "secrets", &self.owner, &self.name]
    }
}

impl Secrets {
    /// Runs the command.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let client = Client::authenticated(&self.target)?;
        let answer = match &self.command {
            Command::Put { named, input, description, if_match, new } => {
                let mut body = Map::new();
                let value = input::text(&input.bytes()?)?;
                put(&mut body, "value", Some(value.as_str()));
                put(&mut body, "description", description.as_deref());
                let condition = match if_match {
                    Some(tag) => Some((IF_MATCH, tag.as_str())),
                    None => new.then_some((IF_NONE_MATCH, "*")),
                };
                let body = Value::Object(body);
                let written =
                    client.exchange(Method::PUT, &named.path(), &[], (Some(&body), condition)).await?;
                without_value(written)
            }
            Command::Get { named, version, json } => {
                let version = version.map(|version| version.to_string());
                let query: Vec<(&str, &str)> =
                    version.iter().map(|version| ("version", version.as_str())).collect();
                let (mut answer, tag) =
                    client.exchange(Method::GET, &named.path(), &query, (None, None)).await?;
                if !json {
                    let value = answer.get("value").and_then(Value::as_str);
                    let missing = || Failure::answer("unexpected_answer", "the answer holds no value");
                    output::line(value.ok_or_else(missing)?)?;
                    return Ok(ExitCode::SUCCESS);
                }
                if let (Value::Object(answer), Some(tag)) = (&mut answer, tag) {
                    answer.insert("etag".to_owned(), tag.into());
                }
                answer
            }
            Command::List { owner } => client.pages(&["v1", "secrets", owner], &[]).await?,
            Command::Versions { named } => {
                let [root, store, owner, name] = named.path();
                client.get(&[root, store, owner, name, "versions"]).await?
            }
            Command::Delete { named } => client.call(Method::DELETE, &named.path(), &[], None).await?,
        };
        output::answer(&answer)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Whoever has put a value knows it; it need not stand on their screen.
fn without_value((mut answer, tag): (Value, Option<String>)) -> Value {
    if let Value::Object(answer) = &mut answer {
        answer.shift_remove("value");
        answer.extend(tag.map(|tag| ("etag".to_owned(), tag.into())));
    }
    answer
}
