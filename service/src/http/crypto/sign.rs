//! `sign` and `hmac`: under the primary.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use claviger_crypto::prepared::SignatureEncoding;
use claviger_entity::{Algorithm, KeyName, Kid, Usage};
use serde::{Deserialize, Serialize};

use super::operation::{Done, OneOrBatch, OneOrBatchAnswer, Operation};
use crate::http::{
    body::{Base64, Direct, PathName, Whole},
    problem::Problem,
    state::{AppState, Caller},
    turn,
};

/// What to sign.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignRequest {
    input: Base64,
    /// `input` is the digest of the key's hash.
    #[serde(default)]
    prehashed: bool,
    /// `jose` (r ‖ s) unless given; `der` for ECDSA keys.
    #[serde(default)]
    #[schema(value_type = String, pattern = "^(jose|der)$")]
    encoding: SignatureEncoding,
}

impl Direct for SignRequest {}

/// A signature.
#[derive(Serialize, utoipa::ToSchema)]
pub struct SignAnswer {
    signature: Base64,
    kid: Kid,
    algorithm: Option<Algorithm>,
}

/// What to authenticate.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HmacRequest {
    input: Base64,
}

impl Direct for HmacRequest {}

/// A message authentication code.
#[derive(Serialize, utoipa::ToSchema)]
pub struct HmacAnswer {
    hmac: Base64,
    kid: Kid,
}

/// Signs bytes with a key of usage sign.
///
/// # Errors
/// `key_not_found`, `unsupported_operation`, `key_state_conflict`, `invalid_request`.
#[utoipa::path(post, path = "/v1/keys/{name}/sign", tag = "crypto", params(("name" = KeyName, Path)),
    request_body = OneOrBatch<SignRequest>, responses(
    (status = 200, description = "The result, or those of the batch", body = OneOrBatchAnswer<SignAnswer>),
))]
pub async fn sign(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    PathName(name): PathName,
    body: Whole,
) -> Result<HttpResponse, Problem> {
    Operation::run_in_turn(request, state, caller, name, body, turn::cost, sign_one).await
}

/// Authenticates bytes with a key of usage mac.
///
/// # Errors
/// `key_not_found`, `unsupported_operation`, `key_state_conflict`, `invalid_request`.
#[utoipa::path(post, path = "/v1/keys/{name}/hmac", tag = "crypto", params(("name" = KeyName, Path)),
    request_body = OneOrBatch<HmacRequest>, responses(
    (status = 200, description = "The result, or those of the batch", body = OneOrBatchAnswer<HmacAnswer>),
))]
pub async fn hmac(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    PathName(name): PathName,
    body: Whole,
) -> Result<HttpResponse, Problem> {
    Operation::run(request, state, caller, name, body, hmac_one).await
}

async fn sign_one(operation: &Operation, given: SignRequest) -> Result<Done<SignAnswer>, Problem> {
    let algorithm = operation.key(&[Usage::Sign])?.record.key_type.algorithm();
    let primary = operation.primary().await?;
    let signature =
        Base64::new(primary.material.sign_raw(&given.input.0, given.prehashed, given.encoding)?);
    let kid = primary.version.kid.clone();
    Ok(Done::by(kid.clone(), SignAnswer { signature, kid, algorithm }))
}

async fn hmac_one(operation: &Operation, given: HmacRequest) -> Result<Done<HmacAnswer>, Problem> {
    operation.key(&[Usage::Mac])?;
    let primary = operation.primary().await?;
    let hmac = Base64::new(primary.material.sign(&given.input.0)?);
    let kid = primary.version.kid.clone();
    Ok(Done::by(kid.clone(), HmacAnswer { hmac, kid }))
}
