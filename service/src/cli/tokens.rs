//! `claviger tokens`: issue, verify, inspect, refresh, revoke, ask.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use claviger_actors::clock::{Clock as _, SystemClock};
use claviger_entity::{HumanDuration, KeyName};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{
    body::{object, put},
    client::Client,
    failure::Failure,
    input::Input,
    inspect::Evidence,
    output,
    target::Target,
};

/// Tokens: issue, verify, inspect, refresh, revoke, introspect.
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
    /// Exchange a refresh token, or that of a pair, for a new pair.
    Refresh(Refresh),
    /// Revoke a token, or everything of a family, a subject or a version of a key.
    Revoke(Revoke),
    /// Say why a token does not verify, or where it should; exit code 1 if it is not valid. A temporary key counts it as a use.
    Inspect(Verify),
    /// Ask about an access token or a refresh token; exit code 1 if it is not active.
    Introspect {
        #[command(flatten)]
        input: Input,
    },
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
    /// A refresh token too.
    #[arg(long)]
    refresh: bool,
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

#[derive(Debug, Args)]
struct Refresh {
    /// The same key gets the same pair again, should the answer be lost.
    #[arg(long, value_name = "TEXT")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    input: Input,
}

#[derive(Debug, Args)]
struct Revoke {
    /// The access token of this id; read a token unless one of these is given.
    #[arg(long, value_name = "ID", group = "what")]
    jti: Option<String>,
    /// Every token of this family, the claim fid.
    #[arg(long, value_name = "ID", group = "what")]
    family: Option<String>,
    /// Every token of this claim sub, up to now.
    #[arg(long, value_name = "TEXT", group = "what")]
    subject: Option<String>,
    /// Every token made with this version of a key, up to now.
    #[arg(long, value_name = "KID", group = "what", allow_hyphen_values = true)]
    kid: Option<String>,
    /// With --jti or --subject: among the tokens of this key only.
    #[arg(long, value_name = "NAME", requires = "what", conflicts_with_all = ["family", "kid"])]
    key: Option<KeyName>,
    /// Take the refresh token of a pair, which ends its family.
    #[arg(long, conflicts_with = "what")]
    refresh: bool,
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
            Command::Refresh(refresh) => {
                let path = ["v1", "tokens", "refresh"];
                output::json(
                    &client.post_once(&path, &refresh.body()?, refresh.idempotency_key.as_deref()).await?,
                )?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Revoke(revoke) => {
                output::json(&client.post(&["v1", "tokens", "revoke"], &revoke.body()?).await?)?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Inspect(verify) => inspect(&client, &verify).await,
            Command::Introspect { input } => {
                let mut body = Map::new();
                put(&mut body, "token", Some(input.text_or_member("token")?.as_str()));
                let path = ["v1", "tokens", "introspect"];
                let answer = client.post(&path, &Value::Object(body)).await?;
                output::verdict_by("active", &answer)
            }
        }
    }
}

async fn inspect(client: &Client, verify: &Verify) -> Result<ExitCode, Failure> {
    let body = verify.body()?;
    let token = Zeroizing::new(body.get("token").and_then(Value::as_str).unwrap_or_default().to_owned());
    let verdict = client.post(&["v1", "tokens", "verify"], &body).await?;
    let is_valid = verdict.get("valid") == Some(&Value::Bool(true));
    // Whoever may verify may not be one who may listen.
    let ring = client.get(&["v1", "ring"]).await.ok();
    let evidence = Evidence { token: &token, verdict, ring, now: SystemClock.now() };
    output::json(&evidence.report())?;
    Ok(if is_valid { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
        put(&mut body, "refresh", self.refresh.then_some(true));
        put(&mut body, "claims", self.claims);
        Value::Object(body)
    }
}

impl Refresh {
    fn body(&self) -> Result<Value, Failure> {
        let mut body = Map::new();
        put(&mut body, "refresh_token", Some(self.input.text_or_member("refresh_token")?.as_str()));
        Ok(Value::Object(body))
    }
}

impl Revoke {
    fn body(&self) -> Result<Value, Failure> {
        let mut body = Map::new();
        let named =
            [("jti", &self.jti), ("family", &self.family), ("subject", &self.subject), ("kid", &self.kid)];
        if named.iter().all(|(_, value)| value.is_none()) {
            let member = if self.refresh { "refresh_token" } else { "token" };
            put(&mut body, "token", Some(self.input.text_or_member(member)?.as_str()));
        }
        for (member, value) in named {
            put(&mut body, member, value.as_deref());
        }
        put(&mut body, "key", self.key.as_ref().map(KeyName::as_str));
        Ok(Value::Object(body))
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
