//! `datakey`: a fresh key for the caller to encrypt with, wrapped for its return.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use claviger_crypto::{ciphertext, random};
use claviger_entity::{KeyName, KeyType, Kid, Usage};
use serde::{Deserialize, Serialize};
use utoipa::openapi::Object;

use super::operation::{Done, OneOrBatch, OneOrBatchAnswer, Operation};
use crate::http::{
    body::{Base64, Direct, PathName, StrictQuery, Whole},
    openapi::schemas::one_of,
    problem::{Code, Problem},
    state::{AppState, Caller},
};

/// The data key.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DatakeyRequest {
    /// 256 unless given.
    #[serde(default = "default_bits")]
    #[schema(schema_with = data_key_bits)]
    bits: u32,
}

impl Direct for DatakeyRequest {}

fn data_key_bits() -> Object {
    one_of(&[128, 192, 256, 512])
}

const fn default_bits() -> u32 {
    256
}

/// What to answer.
#[derive(Debug, Clone, Copy, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DatakeyQuery {
    /// Leave the plaintext out.
    #[serde(default)]
    wrapped_only: bool,
}

/// A data key, open and wrapped.
#[derive(Serialize, utoipa::ToSchema)]
pub struct DatakeyAnswer {
    #[serde(skip_serializing_if = "Option::is_none")]
    plaintext: Option<Base64>,
    /// To be given to `decrypt` when the key is needed again.
    ciphertext: String,
    kid: Kid,
}

/// Makes a data key (envelope encryption, NIST SP 800-57 part 1 §5.3).
///
/// # Errors
/// `key_not_found`, `unsupported_operation`, `key_state_conflict`, `invalid_request`.
#[utoipa::path(post, path = "/v1/keys/{name}/datakey", tag = "crypto", params(("name" = KeyName, Path), DatakeyQuery),
    request_body = OneOrBatch<DatakeyRequest>, responses(
    (status = 200, description = "The result, or those of the batch", body = OneOrBatchAnswer<DatakeyAnswer>),
))]
pub async fn datakey(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    PathName(name): PathName,
    StrictQuery(query): StrictQuery<DatakeyQuery>,
    body: Whole,
) -> Result<HttpResponse, Problem> {
    let one = async |operation: &Operation, given| datakey_one(operation, given, query.wrapped_only).await;
    Operation::run(request, state, caller, name, body, one).await
}

async fn datakey_one(
    operation: &Operation,
    given: DatakeyRequest,
    wrapped_only: bool,
) -> Result<Done<DatakeyAnswer>, Problem> {
    if operation.key(&[Usage::Encrypt])?.record.key_type != KeyType::Aes256Gcm {
        return Err(Problem::new(Code::UnsupportedOperation, "data keys are wrapped by aes256-gcm keys"));
    }
    if !matches!(given.bits, 128 | 192 | 256 | 512) {
        return Err(Problem::invalid("bits must be 128, 192, 256 or 512"));
    }
    let primary = operation.primary().await?;
    let plaintext = Base64::new(random::bytes(given.bits as usize / 8)?);
    let kid = primary.version.kid.clone();
    let ciphertext = ciphertext::encrypt(&primary.material, &kid, &plaintext.0, "")?;
    let plaintext = (!wrapped_only).then_some(plaintext);
    Ok(Done::by(kid.clone(), DatakeyAnswer { plaintext, ciphertext, kid }))
}
