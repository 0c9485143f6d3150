//! `claviger devices`: who may keep a session, and who asks to.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{
    body::{put, segment},
    client::Client,
    failure::Failure,
    output,
    target::Target,
};

/// Devices: list, requests, approve, reject, remove, tokens.
#[derive(Debug, Args)]
pub(super) struct Devices {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List devices that were approved.
    List,
    /// List devices that wait for an approval.
    Requests,
    /// Approve a request.
    Approve {
        /// Identifier of the request.
        #[arg(value_parser = segment)]
        request: String,
        /// One of the scopes that the device asks for; may be repeated. All of them unless given.
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
        /// What the device may do when it calls by its own token; may be repeated. The roles called as the scopes unless given.
        #[arg(long = "role", value_name = "ROLE", conflicts_with = "no_roles")]
        roles: Vec<String>,
        /// The device gets no roles: it needs another credential beside its own.
        #[arg(long)]
        no_roles: bool,
    },
    /// Reject a request.
    Reject {
        /// Identifier of the request.
        #[arg(value_parser = segment)]
        request: String,
    },
    /// Remove a device: its tokens are refused from now on, and its sessions end.
    Remove {
        /// Identifier of the device.
        #[arg(value_parser = segment)]
        device: String,
    },
    /// Replace the token of a device; the new one is shown once, now.
    RotateToken(TokenOf),
    /// Revoke the token of a device; it gets another one only when it is rotated.
    RevokeToken(TokenOf),
}

/// A token of a device.
#[derive(Debug, Args)]
struct TokenOf {
    /// Identifier of the device.
    #[arg(value_parser = segment)]
    device: String,
    /// What it connects as: operator or node.
    #[arg(long, default_value = "operator", value_parser = segment)]
    role: String,
}

impl Devices {
    /// Runs the command.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let client = Client::authenticated(&self.target)?;
        let mut body = Map::new();
        let token = async |of: &TokenOf, what| {
            client.post(&["v1", "devices", &of.device, "tokens", &of.role, what], &json!({})).await
        };
        let answer = match &self.command {
            Command::List => client.pages(&["v1", "devices"], &[]).await,
            Command::Requests => client.pages(&["v1", "devices", "requests"], &[]).await,
            Command::Approve { request, scopes, roles, no_roles } => {
                put(&mut body, "scopes", (!scopes.is_empty()).then_some(scopes.as_slice()));
                put(&mut body, "roles", (*no_roles || !roles.is_empty()).then_some(roles.as_slice()));
                client.post(&["v1", "devices", "requests", request, "approve"], &Value::Object(body)).await
            }
            Command::Reject { request } => {
                client.post(&["v1", "devices", "requests", request, "reject"], &json!({})).await
            }
            Command::Remove { device } => {
                client.call(Method::DELETE, &["v1", "devices", device], &[], None).await
            }
            Command::RotateToken(of) => token(of, "rotate").await,
            Command::RevokeToken(of) => token(of, "revoke").await,
        }?;
        output::answer(&answer)?;
        Ok(ExitCode::SUCCESS)
    }
}
