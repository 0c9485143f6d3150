//! `decrypt` and `rewrap`: by the version that the ciphertext names.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use claviger_actors::keyring::{Unusable, Usable, core::Use};
use claviger_crypto::{ciphertext, json, secret::SecretBytes};
use claviger_entity::{KeyName, KeyState, KeyType, Kid, Usage};
use claviger_policy::Permission;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::operation::{Done, OneOrBatch, OneOrBatchAnswer, Operation};
use crate::http::{
    body::{Base64, Direct, PathName, Whole},
    problem::{Code, Problem},
    state::{AppState, Caller},
};

/// Versions of a fernet key that are tried at most: its tokens name none.
pub(in crate::http) const FERNET_TRIES: usize = 64;

/// What to decrypt.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecryptRequest {
    ciphertext: String,
    /// The context it was encrypted under.
    #[serde(default)]
    context: Option<String>,
    /// Use a compromised version too, to rescue data; needs a permission of its own.
    #[serde(default)]
    allow_compromised: bool,
    /// `json`: answer with the JSON payload of a Fernet token.
    #[serde(default, rename = "as")]
    form: Option<Form>,
}

impl Direct for DecryptRequest {}

/// How to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// As JSON.
    Json,
}

/// A plaintext.
#[derive(Serialize, utoipa::ToSchema)]
pub struct DecryptAnswer {
    #[serde(skip_serializing_if = "Option::is_none")]
    plaintext: Option<Base64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    json: Option<Value>,
    kid: Kid,
}

/// What to encrypt anew.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RewrapRequest {
    ciphertext: String,
    /// The context it was encrypted under, and will be again.
    #[serde(default)]
    context: Option<String>,
}

impl Direct for RewrapRequest {}

/// The same plaintext under the primary.
#[derive(Serialize, utoipa::ToSchema)]
pub struct RewrapAnswer {
    ciphertext: String,
    kid: Kid,
}

/// Decrypts a ciphertext of this key.
///
/// # Errors
/// `decryption_failed`, `key_not_found`, `unsupported_operation`, `key_state_conflict`, `forbidden`, `invalid_request`.
#[utoipa::path(post, path = "/v1/keys/{name}/decrypt", tag = "crypto", params(("name" = KeyName, Path)),
    request_body = OneOrBatch<DecryptRequest>, responses(
    (status = 200, description = "The result, or those of the batch", body = OneOrBatchAnswer<DecryptAnswer>),
))]
pub async fn decrypt(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    PathName(name): PathName,
    body: Whole,
) -> Result<HttpResponse, Problem> {
    Operation::run(request, state, caller, name, body, decrypt_one).await
}

/// Encrypts a ciphertext of this key anew, under the primary; the plaintext does not leave.
///
/// # Errors
/// `decryption_failed`, `key_not_found`, `unsupported_operation`, `key_state_conflict`, `invalid_request`.
#[utoipa::path(post, path = "/v1/keys/{name}/rewrap", tag = "crypto", params(("name" = KeyName, Path)),
    request_body = OneOrBatch<RewrapRequest>, responses(
    (status = 200, description = "The result, or those of the batch", body = OneOrBatchAnswer<RewrapAnswer>),
))]
pub async fn rewrap(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    PathName(name): PathName,
    body: Whole,
) -> Result<HttpResponse, Problem> {
    Operation::run(request, state, caller, name, body, rewrap_one).await
}

async fn decrypt_one(operation: &Operation, given: DecryptRequest) -> Result<Done<DecryptAnswer>, Problem> {
    let fernet = operation.key(&[Usage::Encrypt])?.record.key_type == KeyType::Fernet;
    if !fernet && given.form.is_some() {
        return Err(Problem::new(Code::UnsupportedOperation, "as is for fernet keys"));
    }
    if given.allow_compromised {
        operation.further(Permission::KeyRescue)?;
    }
    let (plaintext, used) =
        open(operation, &given.ciphertext, given.context.as_deref(), given.allow_compromised)?;
    let answer = match given.form {
        Some(Form::Json) => {
            let payload = json::parse(plaintext.expose(), 64);
            let payload =
                payload.map_err(|_| Problem::new(Code::DecryptionFailed, "the plaintext is not JSON"))?;
            (None, Some(payload))
        }
        None => (Some(Base64::new(plaintext.expose())), None),
    };
    operation.count(&used, Use::Consume).await?;
    let kid = used.version.kid.clone();
    Ok(Done::by(kid.clone(), DecryptAnswer { plaintext: answer.0, json: answer.1, kid }))
}

async fn rewrap_one(operation: &Operation, given: RewrapRequest) -> Result<Done<RewrapAnswer>, Problem> {
    let fernet = operation.key(&[Usage::Encrypt])?.record.key_type == KeyType::Fernet;
    let (plaintext, used) = open(operation, &given.ciphertext, given.context.as_deref(), false)?;
    operation.count(&used, Use::Consume).await?;
    let primary = operation.primary().await?;
    let kid = primary.version.kid.clone();
    let ciphertext = if fernet {
        let now = u64::try_from(operation.state.clock.now().timestamp()).unwrap_or(0);
        primary.material.fernet()?.encrypt(plaintext.expose(), now)?
    } else {
        ciphertext::encrypt(
            &primary.material,
            &kid,
            plaintext.expose(),
            given.context.as_deref().unwrap_or_default(),
        )?
    };
    Ok(Done::by(kid.clone(), RewrapAnswer { ciphertext, kid }))
}

/// The plaintext, and the version that had it.
fn open<'a>(
    operation: &'a Operation,
    text: &str,
    context: Option<&str>,
    rescue: bool,
) -> Result<(SecretBytes, Usable<'a>), Problem> {
    let key = operation.key(&[Usage::Encrypt])?;
    if key.record.key_type == KeyType::Fernet {
        if context.is_some() {
            return Err(Problem::new(Code::UnsupportedOperation, super::encrypt::FERNET_HAS_NO_CONTEXT));
        }
        let failed = || {
            Problem::new(Code::DecryptionFailed, "no version of this key that may decrypt made this token")
        };
        let rescued =
            key.versions.values().rev().filter(|version| rescue && version.state == KeyState::Compromised);
        let rescued = rescued.filter_map(|version| operation.snapshot.compromised(&version.kid).ok());
        let mut versions = operation.snapshot.consumers(key).chain(rescued).take(FERNET_TRIES);
        return versions
            .find_map(|usable| Some((usable.material.fernet().ok()?.decrypt_lenient(text).ok()?, usable)))
            .ok_or_else(failed);
    }
    let parsed =
        ciphertext::parse(text).map_err(|error| Problem::new(Code::DecryptionFailed, error.to_string()))?;
    let usable = match operation.consumer(&parsed.kid) {
        Err(Unusable::State(KeyState::Compromised)) if rescue => operation.snapshot.compromised(&parsed.kid),
        other => other,
    }?;
    let plaintext = ciphertext::decrypt(&parsed, &usable.material, context.unwrap_or_default())?;
    Ok((plaintext, usable))
}
