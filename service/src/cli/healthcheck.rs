//! `claviger healthcheck`: for container runtimes, whose images hold no other client.

use std::{process::ExitCode, time::Duration};

use clap::Args;

use super::{client::Client, failure::Failure, output, target::Target};

/// Longest time for everything.
const LIMIT: Duration = Duration::from_secs(5);

/// Asks a server whether it is ready.
#[derive(Debug, Args)]
pub(super) struct Healthcheck {
    #[command(flatten)]
    target: Target,
}

impl Healthcheck {
    /// Says `ready`; everything else is a failure.
    ///
    /// # Errors
    /// The server is not ready, or does not answer.
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        Client::anonymous(&self.target, LIMIT)?.get(&["readyz"]).await?;
        output::line("ready")?;
        Ok(ExitCode::SUCCESS)
    }
}
