//! What a key does to data.

use std::process::ExitCode;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::{ArgGroup, Args};
use claviger_entity::{KeyName, Kid};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::at;
use crate::cli::{body::put, client::Client, failure::Failure, input::Input, output};

/// `encrypt`, `decrypt`, `rewrap`.
#[derive(Debug, Args)]
pub(super) struct Sealing {
    /// Name of the key.
    name: KeyName,
    /// Text that decryption must name again.
    #[arg(long, value_name = "TEXT")]
    context: Option<String>,
    #[command(flatten)]
    input: Input,
}

/// `sign`, `hmac`.
#[derive(Debug, Args)]
pub(super) struct Signing {
    /// Name of the key.
    name: KeyName,
    #[command(flatten)]
    input: Input,
}

/// `verify`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("code").args(["signature", "hmac"]).required(true))]
pub(super) struct Verifying {
    /// Name of the key.
    name: KeyName,
    /// Signature of a sign key.
    #[arg(long, value_name = "BASE64")]
    signature: Option<String>,
    /// Code of a mac key.
    #[arg(long, value_name = "BASE64")]
    hmac: Option<String>,
    /// The version that made it.
    #[arg(long, allow_hyphen_values = true)]
    kid: Option<Kid>,
    #[command(flatten)]
    input: Input,
}

impl Sealing {
    pub(super) async fn encrypt(&self, client: &Client) -> Result<Value, Failure> {
        let plaintext = Zeroizing::new(STANDARD.encode(&*self.input.bytes()?));
        self.send(client, "encrypt", "plaintext", &plaintext).await
    }

    pub(super) async fn rewrap(&self, client: &Client) -> Result<Value, Failure> {
        self.send(client, "rewrap", "ciphertext", &self.input.text_or_member("ciphertext")?).await
    }

    /// Writes nothing but the plaintext.
    pub(super) async fn decrypt(&self, client: &Client) -> Result<ExitCode, Failure> {
        let ciphertext = self.input.text_or_member("ciphertext")?;
        let answer = self.send(client, "decrypt", "ciphertext", &ciphertext).await?;
        let plaintext = answer.get("plaintext").and_then(Value::as_str);
        let plaintext = plaintext.and_then(|text| STANDARD.decode(text).ok()).map(Zeroizing::new);
        let plaintext =
            plaintext.ok_or_else(|| Failure::answer("unexpected_answer", "the answer holds no plaintext"))?;
        output::bytes(&plaintext)?;
        Ok(ExitCode::SUCCESS)
    }

    async fn send(
        &self,
        client: &Client,
        operation: &str,
        member: &str,
        text: &Zeroizing<String>,
    ) -> Result<Value, Failure> {
        let mut body = Map::new();
        put(&mut body, member, Some(text.as_str()));
        put(&mut body, "context", self.context.as_deref());
        client.post(&at(&self.name, &[operation]), &Value::Object(body)).await
    }
}

impl Signing {
    pub(super) async fn run(&self, client: &Client, operation: &str) -> Result<Value, Failure> {
        let body = json!({ "input": STANDARD.encode(&*self.input.bytes()?) });
        client.post(&at(&self.name, &[operation]), &body).await
    }
}

impl Verifying {
    /// Prints the verdict; it is the exit code, too.
    pub(super) async fn run(&self, client: &Client) -> Result<ExitCode, Failure> {
        let mut body = Map::new();
        put(&mut body, "input", Some(STANDARD.encode(&*self.input.bytes()?)));
        put(&mut body, "signature", self.signature.as_deref());
        put(&mut body, "hmac", self.hmac.as_deref());
        put(&mut body, "kid", self.kid.as_ref().map(Kid::as_str));
        let verdict = client.post(&at(&self.name, &["verify"]), &Value::Object(body)).await?;
        output::verdict(&verdict)
    }
}
