//! `verify`: signatures of sign keys, codes of mac keys.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use claviger_actors::keyring::{Unusable, Usable, core::Use};
use claviger_crypto::prepared::SignatureEncoding;
use claviger_entity::{KeyName, Kid, Usage};
use serde::{Deserialize, Serialize};

use super::operation::{Done, OneOrBatch, OneOrBatchAnswer, Operation};
use crate::http::{
    body::{Base64, Direct, PathName, Whole},
    problem::Problem,
    state::{AppState, Caller},
};

/// Versions that are tried at most when no `kid` is given.
const TRIES: usize = 64;

/// What to verify: `signature` of a sign key, or `hmac` of a mac key.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyRequest {
    input: Base64,
    #[serde(default)]
    signature: Option<Base64>,
    #[serde(default)]
    hmac: Option<Base64>,
    /// The version that made it; without it the newest ones are tried.
    #[serde(default)]
    kid: Option<String>,
    /// `input` is the digest of the key's hash.
    #[serde(default)]
    prehashed: bool,
    /// As it was signed.
    #[serde(default)]
    #[schema(value_type = String, pattern = "^(jose|der)$")]
    encoding: SignatureEncoding,
}

impl Direct for VerifyRequest {}

/// The verdict.
#[derive(Serialize, utoipa::ToSchema)]
pub struct VerifyAnswer {
    valid: bool,
    /// The version that made it, when valid.
    kid: Option<Kid>,
}

/// Verifies a signature or code; a wrong one is no error.
///
/// # Errors
/// `key_not_found`, `unsupported_operation`, `key_state_conflict`, `invalid_request`.
#[utoipa::path(post, path = "/v1/keys/{name}/verify", tag = "crypto", params(("name" = KeyName, Path)),
    request_body = OneOrBatch<VerifyRequest>, responses(
    (status = 200, description = "The result, or those of the batch", body = OneOrBatchAnswer<VerifyAnswer>),
))]
pub async fn verify(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    PathName(name): PathName,
    body: Whole,
) -> Result<HttpResponse, Problem> {
    Operation::run(request, state, caller, name, body, verify_one).await
}

async fn verify_one(operation: &Operation, given: VerifyRequest) -> Result<Done<VerifyAnswer>, Problem> {
    let usage = operation.key(&[Usage::Sign, Usage::Mac])?.record.usage;
    let code = match (usage, &given.signature, &given.hmac) {
        (Usage::Mac, None, Some(hmac)) => hmac,
        (Usage::Sign, Some(signature), None) => signature,
        (Usage::Sign | Usage::Mac | Usage::Token | Usage::Encrypt, ..) => {
            return Err(Problem::invalid("give signature for a sign key, hmac for a mac key"));
        }
    };
    let fits = |usable: &Usable<'_>| -> Result<bool, Problem> {
        Ok(match usage {
            Usage::Mac => usable.material.verify(&given.input.0, &code.0),
            Usage::Sign | Usage::Token | Usage::Encrypt => {
                usable.material.verify_raw(&given.input.0, &code.0, given.prehashed, given.encoding)?
            }
        })
    };
    let mut found = None;
    for usable in candidates(operation, given.kid.as_deref())? {
        if fits(&usable)? {
            found = Some(usable);
            break;
        }
    }
    let Some(usable) = found else {
        return Ok(Done { answer: VerifyAnswer { valid: false, kid: None }, kid: None, valid: Some(false) });
    };
    operation.count(&usable, Use::Consume).await?;
    let kid = Some(usable.version.kid.clone());
    Ok(Done { answer: VerifyAnswer { valid: true, kid: kid.clone() }, kid, valid: Some(true) })
}

/// Versions that may have made it. A `kid` of another key, or one that may not verify any more, makes nothing valid.
fn candidates<'a>(operation: &'a Operation, kid: Option<&str>) -> Result<Vec<Usable<'a>>, Problem> {
    let Some(kid) = kid else {
        return Ok(operation
            .snapshot
            .consumers(operation.snapshot.key(&operation.name)?)
            .take(TRIES)
            .collect());
    };
    let Ok(kid) = kid.parse::<Kid>() else { return Ok(Vec::new()) };
    match operation.consumer(&kid) {
        Ok(usable) => Ok(vec![usable]),
        Err(Unusable::UnknownKid | Unusable::State(_) | Unusable::BelowMinimum) => Ok(Vec::new()),
        Err(error @ (Unusable::Ring(_) | Unusable::NoPrimary(_) | Unusable::Material)) => Err(error.into()),
    }
}
