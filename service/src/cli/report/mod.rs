//! `claviger report`: what an auditor asks of a deployment, for people or programs.
//!
//! The server's answer becomes [`sections`], and these one of the formats. A section more is a function more.

mod html;
mod markdown;
mod sections;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{client::Client, failure::Failure, output, target::Target};

/// Reports on a deployment: keys and their cryptoperiods, who may do what, the audit log, incidents, alerts.
#[derive(Debug, Args)]
pub(super) struct Report {
    /// How it is written.
    #[arg(long, default_value = "markdown")]
    format: Format,
    /// Where it goes; standard output unless given.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Do not have the server look whether its audit log is whole, which may take a while.
    #[arg(long)]
    no_verify: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Markdown,
    Html,
    Json,
}

impl Report {
    /// Runs the command.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let client = Client::authenticated(&self.target)?;
        let mut report = client.get(&["v1", "report"]).await?;
        if !self.no_verify {
            let verified = client.post(&["v1", "audit", "verify"], &json!({})).await?;
            if let Some(members) = report.as_object_mut() {
                members.insert("audit_log".to_owned(), verified);
            }
        }
        let text = match self.format {
            Format::Json => format!("{report:#}\n"),
            Format::Markdown => markdown::text(&title(&report), &sections::of(&report)),
            Format::Html => html::text(&title(&report), &sections::of(&report)),
        };
        match &self.output {
            None => output::bytes(text.as_bytes())?,
            Some(path) => std::fs::write(path, text).map_err(|error| {
                Failure::Local(format!("--output names a file that can't be written ({})", error.kind()))
            })?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn title(report: &Value) -> String {
    let text = |member: &str| report.get(member).and_then(Value::as_str).unwrap_or("?");
    format!("Claviger: {} at {}", text("issuer"), text("generated_at"))
}
