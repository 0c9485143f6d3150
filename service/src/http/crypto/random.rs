//! `POST /v1/random`.

use actix_web::HttpResponse;
use claviger_crypto::random;
use serde::{Deserialize, Serialize};

use crate::http::{
    body::{Base64, StrictJson},
    problem::Problem,
};

/// Most bytes of one answer.
const MAX_BYTES: usize = 1 << 20;

/// How much.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RandomRequest {
    /// How many.
    #[schema(minimum = 1, maximum = 1_048_576)]
    bytes: usize,
}

/// Random bytes.
#[derive(Serialize, utoipa::ToSchema)]
pub struct RandomAnswer {
    random: Base64,
}

/// Random bytes from the operating system's generator.
///
/// # Errors
/// `invalid_request`.
#[utoipa::path(post, path = "/v1/random", tag = "crypto", request_body = RandomRequest, responses(
    (status = 200, description = "The bytes", body = RandomAnswer),
))]
pub async fn random(StrictJson(given): StrictJson<RandomRequest>) -> Result<HttpResponse, Problem> {
    if given.bytes == 0 || given.bytes > MAX_BYTES {
        return Err(Problem::invalid("bytes must be from 1 to 1048576"));
    }
    Ok(HttpResponse::Ok().json(RandomAnswer { random: Base64::new(random::bytes(given.bytes)?) }))
}
