//! `claviger seal`: which master is in use, its rotation, those of before, and its shares.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::json;

use super::{
    client::Client,
    failure::Failure,
    old_masters::OldMasters,
    output,
    shares::{Combine, Split},
    target::Target,
};

/// The master key: status, rotate, masters of before, shares.
#[derive(Debug, Args)]
pub(super) struct Seal {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Which master is in use, which nodes have it, and how far rows have moved after a rotation.
    Status,
    /// Put the newest master in use, and seal everything anew in the background.
    Rotate,
    /// Masters of before, which are kept sealed under the one in use: list, reveal, remove. On the database itself, with the master in use.
    OldMasters(OldMasters),
    /// Divide the master key among several people.
    Split(Split),
    /// Put the master key together from shares.
    Combine(Combine),
}

impl Seal {
    /// Runs the command.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let client = || Client::authenticated(&self.target);
        let answer = match &self.command {
            Command::Status => client()?.call(Method::GET, &["v1", "seal"], &[], None).await?,
            Command::Rotate => client()?.post(&["v1", "seal", "rotate"], &json!({})).await?,
            Command::OldMasters(old_masters) => return old_masters.run().await,
            Command::Split(split) => return split.run(),
            Command::Combine(combine) => return combine.run(),
        };
        output::json(&answer)?;
        Ok(ExitCode::SUCCESS)
    }
}
