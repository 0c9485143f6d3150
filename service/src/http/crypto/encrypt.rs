//! `encrypt`: under the primary.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use claviger_crypto::{ciphertext, fernet, json};
use claviger_entity::{KeyName, KeyType, Kid, Usage};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::operation::{Done, OneOrBatch, OneOrBatchAnswer, Operation};
use crate::http::{
    body::{Base64, Direct, PathName, Whole},
    problem::{Code, Problem},
    state::{AppState, Caller},
};

/// What to encrypt: `plaintext`, or `json` under a fernet key.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EncryptRequest {
    #[serde(default)]
    plaintext: Option<Base64>,
    /// A JSON payload, for fernet keys.
    #[serde(default, deserialize_with = "json::strict")]
    json: Option<Value>,
    /// Text that decryption must name again (associated data).
    #[serde(default)]
    context: Option<String>,
}

impl Direct for EncryptRequest {}

/// A ciphertext.
#[derive(Serialize, utoipa::ToSchema)]
pub struct EncryptAnswer {
    /// `clv:<kid>:<base64>`, or a Fernet token.
    ciphertext: String,
    kid: Kid,
}

pub(super) const FERNET_HAS_NO_CONTEXT: &str = "a fernet key knows no context";

/// Encrypts under the primary.
///
/// # Errors
/// `key_not_found`, `unsupported_operation`, `key_state_conflict`, `invalid_request`.
#[utoipa::path(post, path = "/v1/keys/{name}/encrypt", tag = "crypto", params(("name" = KeyName, Path)),
    request_body = OneOrBatch<EncryptRequest>, responses(
    (status = 200, description = "The result, or those of the batch", body = OneOrBatchAnswer<EncryptAnswer>),
))]
pub async fn encrypt(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    PathName(name): PathName,
    body: Whole,
) -> Result<HttpResponse, Problem> {
    Operation::run(request, state, caller, name, body, encrypt_one).await
}

async fn encrypt_one(operation: &Operation, given: EncryptRequest) -> Result<Done<EncryptAnswer>, Problem> {
    let fernet = operation.key(&[Usage::Encrypt])?.record.key_type == KeyType::Fernet;
    if fernet && given.context.is_some() {
        return Err(Problem::new(Code::UnsupportedOperation, FERNET_HAS_NO_CONTEXT));
    }
    if !fernet && given.json.is_some() {
        return Err(Problem::new(Code::UnsupportedOperation, "json is for fernet keys"));
    }
    let (plaintext, json) = match (given.plaintext, given.json) {
        (Some(plaintext), None) => (plaintext, None),
        (None, Some(json)) => (Base64::new([]), Some(json)),
        (Some(_), Some(_)) | (None, None) => {
            return Err(Problem::invalid("give plaintext, or json under a fernet key"));
        }
    };
    let primary = operation.primary().await?;
    let kid = primary.version.kid.clone();
    let ciphertext = if fernet {
        let now = u64::try_from(operation.state.clock.now().timestamp()).unwrap_or(0);
        match json {
            Some(json) => fernet::encrypt_json(primary.material.fernet()?, &json, now)?,
            None => primary.material.fernet()?.encrypt(&plaintext.0, now)?,
        }
    } else {
        ciphertext::encrypt(
            &primary.material,
            &kid,
            &plaintext.0,
            given.context.as_deref().unwrap_or_default(),
        )?
    };
    Ok(Done::by(kid.clone(), EncryptAnswer { ciphertext, kid }))
}
