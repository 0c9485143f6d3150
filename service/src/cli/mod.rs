//! The `claviger` command: the server, and clients of it.
//!
//! One file a group of commands. Client commands speak to a server as any client would, print JSON on standard output, and say what
//! went wrong in one line on standard error. Secrets come from the environment, files and standard input, never from arguments.

mod alerts;
mod api_keys;
mod audit;
mod backup;
mod body;
mod client;
mod cluster;
mod configuration;
mod credential;
mod devices;
mod doctor;
mod failure;
mod healthcheck;
mod import;
mod incident;
mod input;
mod inspect;
mod keys;
mod migrate;
mod old_masters;
mod output;
mod policies;
mod progress;
mod report;
mod restore;
mod scan;
mod seal;
mod secrets;
mod serve;
mod shares;
mod target;
mod tokens;
mod watch;

use std::{io::Write as _, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::http::openapi;
use failure::Failure;

/// Key-management service.
///
/// Client commands take their token from CLAVIGER_TOKEN_FILE or CLAVIGER_TOKEN.
#[derive(Debug, Parser)]
#[command(name = "claviger", version, about)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve(configuration::File),
    /// Bring the database's schema up to date without serving.
    Migrate(configuration::File),
    /// Look for weaknesses in the configuration and in the files it names.
    Doctor(doctor::Doctor),
    /// Ask a server whether it is ready: exit code 0 or 1, within 5 s.
    Healthcheck(healthcheck::Healthcheck),
    /// Print the OpenAPI document.
    Openapi,
    /// What is on record: events, keys, checkpoints, hashes of values; and whether it is whole.
    Audit(audit::Audit),
    /// The nodes of a deployment, and how far each has come.
    Cluster(cluster::Cluster),
    /// Write everything into one encrypted file.
    Backup(backup::Backup),
    /// Write a backup into an empty database; release what was restored.
    Restore(restore::Restore),
    /// The master key: status, rotate, masters of before, shares.
    Seal(seal::Seal),
    /// Keys: create, look, rotate, use.
    Keys(keys::Keys),
    /// Tokens: issue, verify, inspect, refresh, revoke, introspect.
    Tokens(tokens::Tokens),
    /// API keys: create, list, rotate, delete.
    ApiKeys(api_keys::ApiKeys),
    /// Devices: list, requests, approve, reject, remove, tokens.
    Devices(devices::Devices),
    /// Policies: list, look, put, delete.
    Policies(policies::Policies),
    /// Secrets: put, get, list, delete.
    Secrets(secrets::Secrets),
    /// Take in values of a system that is being replaced.
    Import(import::Import),
    /// Alerts: list, show, ack, silence, silences, unsilence, deliveries.
    Alerts(alerts::Alerts),
    /// Incidents: open, show, list, approve, close.
    Incident(incident::Incident),
    /// What an auditor asks of a deployment, as Markdown, HTML or JSON.
    Report(report::Report),
    /// Look for credentials of this deployment that lie about: exit code 1 when one is live.
    Scan(scan::Scan),
    /// Print events as they come.
    Watch(watch::Watch),
}

impl Arguments {
    /// Does what was asked; a failure is one line on standard error.
    pub async fn run(self) -> ExitCode {
        self.command.run().await.unwrap_or_else(|failure| {
            // The operator reads one line; the causes are in it or in the log.
            let _closed = writeln!(std::io::stderr(), "claviger: {failure}");
            failure.code()
        })
    }
}

impl Command {
    async fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::Serve(file) => serve::run(&file).await,
            Self::Migrate(file) => migrate::run(&file).await,
            Self::Doctor(doctor) => doctor.run().await,
            Self::Healthcheck(healthcheck) => healthcheck.run().await,
            Self::Openapi => output::bytes(openapi::text().as_bytes()).map(|()| ExitCode::SUCCESS),
            Self::Audit(audit) => audit.run().await,
            Self::Cluster(cluster) => cluster.run().await,
            Self::Backup(backup) => backup.run().await,
            Self::Restore(restore) => restore.run().await,
            Self::Seal(seal) => seal.run().await,
            Self::Keys(keys) => keys.run().await,
            Self::Tokens(tokens) => tokens.run().await,
            Self::ApiKeys(api_keys) => api_keys.run().await,
            Self::Devices(devices) => devices.run().await,
            Self::Policies(policies) => policies.run().await,
            Self::Secrets(secrets) => secrets.run().await,
            Self::Import(import) => import.run().await,
            Self::Alerts(alerts) => alerts.run().await,
            Self::Incident(incident) => incident.run().await,
            Self::Report(report) => report.run().await,
            Self::Scan(scan) => scan.run().await,
            Self::Watch(watch) => watch.run().await,
        }
    }
}

#[cfg(test)]
mod tests;
