//! `claviger policies`: who may do what, as Cedar texts.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::{body::segment, client::Client, failure::Failure, input, output, target::Target};

/// Policies: list, look, put, delete.
#[derive(Debug, Args)]
pub(super) struct Policies {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the schema that policies are held against, and the shipped roles; asks no server.
    Schema,
    /// List policies.
    List,
    /// Print the Cedar text of a policy.
    Get {
        /// Name of the policy.
        #[arg(value_parser = segment)]
        name: String,
    },
    /// Create or replace a policy.
    Put {
        /// Name of the policy.
        #[arg(value_parser = segment)]
        name: String,
        /// Cedar text; - is standard input.
        #[arg(long)]
        file: PathBuf,
    },
    /// Delete a policy.
    Delete {
        /// Name of the policy.
        #[arg(value_parser = segment)]
        name: String,
    },
}

impl Policies {
    /// Runs the command.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let client = || Client::authenticated(&self.target);
        let call = async |method, name: &str, body: Option<&Value>| {
            client()?.call(method, &["v1", "policies", name], &[], body).await
        };
        let answer = match &self.command {
            Command::Schema => {
                output::line(&format!(
                    "{}\n{}",
                    claviger_policy::schema_text(),
                    claviger_policy::roles_text()
                ))?;
                return Ok(ExitCode::SUCCESS);
            }
            Command::List => client()?.pages(&["v1", "policies"], &[]).await,
            Command::Get { name } => {
                let answer = call(Method::GET, name, None).await?;
                let text = answer.get("policy").and_then(Value::as_str);
                let text =
                    text.ok_or_else(|| Failure::answer("unexpected_answer", "the answer holds no policy"))?;
                output::line(text.trim_end())?;
                return Ok(ExitCode::SUCCESS);
            }
            Command::Put { name, file } => {
                let text = input::text_file("--file", file)?;
                call(Method::PUT, name, Some(&json!({ "policy": *text }))).await
            }
            Command::Delete { name } => call(Method::DELETE, name, None).await,
        }?;
        output::answer(&answer)?;
        Ok(ExitCode::SUCCESS)
    }
}
