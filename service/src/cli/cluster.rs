//! `claviger cluster`: the nodes.

use std::process::ExitCode;

use clap::Args;
use reqwest::Method;

use super::{client::Client, failure::Failure, output, target::Target};

/// The nodes of a deployment, and how far each has come.
#[derive(Debug, Args)]
pub(super) struct Cluster {
    #[command(flatten)]
    target: Target,
}

impl Cluster {
    /// Runs the command.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let client = Client::authenticated(&self.target)?;
        let answer = client.call(Method::GET, &["v1", "cluster"], &[], None).await?;
        output::json(&answer)?;
        Ok(ExitCode::SUCCESS)
    }
}
