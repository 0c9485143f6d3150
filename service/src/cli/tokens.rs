//! `claviger tokens`: issue and verify.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use claviger_entity::{HumanDuration, KeyName};
use serde_json::{Map, Value};

use super::{
    body::{object, put},
    client::Client,
    failure::Failure,
    input::Input,
    output,
    target::Target,
};

/// Tokens: issue, verify.
#[derive(Debug, Args)]
pub(super) struct Tokens {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Issue a token.
    Issue(Issue),
    /// Verify a token, or the answer of issue; exit code 1 if it is not valid.
    Verify(Verify),
}

#[derive(Debug, Args)]
struct Issue {
    /// Key that makes it; the default key of the format unless given.
    #[arg(long, value_name = "NAME")]
    key: Option<KeyName>,
    /// Signed (jws) or encrypted (jwe).
    #[arg(long)]
    format: Option<Format>,
    /// Claim sub.
    #[arg(long, value_name = "TEXT")]
    subject: Option<String>,
    /// Claim aud; may be repeated.
    #[arg(long, value_name = "TEXT")]
    audience: Vec<String>,
    /// Lifetime, such as 15m; 1 h unless given.
    #[arg(long, value_name = "DURATION")]
    expires_in: Option<HumanDuration>,
    /// Further claims. Arguments are visible to other users of the machine, so claims must be no secrets.
    #[arg(long, value_name = "JSON", value_parser = object)]
    claims: Option<Map<String, Value>>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Jws,
    Jwe,
}

#[derive(Debug, Args)]
struct Verify {
    /// Audience that the token must be for.
    #[arg(long, value_name = "TEXT")]
    audience: Option<String>,
    /// Key that must have made it.
    #[arg(long, value_name = "NAME")]
    key: Option<KeyName>,
    /// A claim that must be there; may be repeated.
    #[arg(long = "required-claim", value_name = "NAME")]
    required_claims: Vec<String>,
    #[command(flatten)]
    input: Input,
}

impl Tokens {
    /// Runs the command.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let client = Client::authenticated(&self.target)?;
        match self.command {
            Command::Issue(issue) => {
                output::json(&client.post(&["v1", "tokens"], &issue.body()).await?)?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Verify(verify) => {
                output::verdict(&client.post(&["v1", "tokens", "verify"], &verify.body()?).await?)
            }
        }
    }
}

impl Issue {
    fn body(self) -> Value {
        let mut body = Map::new();
        put(&mut body, "key", self.key.as_ref().map(KeyName::as_str));
        let format = self.format.map(|format| match format {
            Format::Jws => "jws",
            Format::Jwe => "jwe",
        });
        put(&mut body, "format", format);
        put(&mut body, "subject", self.subject);
        let audience = match self.audience.as_slice() {
            [] => None,
            [one] => Some(Value::from(one.as_str())),
            several => Some(Value::from(several)),
        };
        put(&mut body, "audience", audience);
        put(&mut body, "expires_in", self.expires_in.map(|lifetime| lifetime.to_string()));
        put(&mut body, "claims", self.claims);
        Value::Object(body)
    }
}

impl Verify {
    fn body(&self) -> Result<Value, Failure> {
        let mut body = Map::new();
        put(&mut body, "token", Some(self.input.text_or_member("token")?.as_str()));
        put(&mut body, "audience", self.audience.as_deref());
        put(&mut body, "key", self.key.as_ref().map(KeyName::as_str));
        let required = (!self.required_claims.is_empty()).then_some(self.required_claims.as_slice());
        put(&mut body, "required_claims", required);
        Ok(Value::Object(body))
    }
}
