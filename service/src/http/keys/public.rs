//! Public halves of one key.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use claviger_actors::{audit::Subject, keyring::Jwks};
use claviger_crypto::jwk;
use claviger_entity::{KeyName, VersionNumber};

use super::{note, note_key};
use crate::http::{
    body::{PathName, PathVersion},
    discovery,
    problem::{Code, Problem},
    state::AppState,
};

const NO_PUBLIC_HALF: &str = "a symmetric key has no public half";

/// The public keys of one key (RFC 7517).
///
/// # Errors
/// `key_not_found`, `unsupported_operation`.
#[utoipa::path(get, path = "/v1/keys/{name}/jwks.json", tag = "keys",
    params(("name" = KeyName, Path), ("If-None-Match" = Option<String>, Header, description = "The ETag of the set that the caller has")), responses(
    (status = 200, description = "The set", body = Object, headers(("ETag" = String, description = "For If-None-Match"))),
    (status = 304, description = "Unchanged"),
))]
pub async fn jwks(
    request: HttpRequest,
    state: Data<AppState>,
    PathName(name): PathName,
) -> Result<HttpResponse, Problem> {
    note_key(&request, &state, &name);
    let snapshot = state.ring.snapshot();
    let key = snapshot.key(&name)?;
    if !key.record.key_type.is_asymmetric() {
        return Err(Problem::new(Code::UnsupportedOperation, NO_PUBLIC_HALF));
    }
    Ok(discovery::serve(&request, &Jwks::of_key(key), None))
}

/// The public half of one version as PEM (RFC 7468 §13).
///
/// # Errors
/// `key_not_found`, `version_not_found`, `unsupported_operation`.
#[utoipa::path(get, path = "/v1/keys/{name}/versions/{version}/public.pem", tag = "keys",
    params(("name" = KeyName, Path), ("version" = VersionNumber, Path)), responses(
    (status = 200, description = "The PEM", body = String, content_type = "application/x-pem-file"),
))]
pub async fn pem(
    request: HttpRequest,
    state: Data<AppState>,
    PathName(name): PathName,
    PathVersion(number): PathVersion,
) -> Result<HttpResponse, Problem> {
    note_key(&request, &state, &name);
    let snapshot = state.ring.snapshot();
    let key = snapshot.key(&name)?;
    let missing = || Problem::new(Code::VersionNotFound, "the key has no such version");
    let version = key.versions.get(&number).ok_or_else(missing)?;
    let kid = Some(version.kid.as_str().to_owned());
    note(
        &request,
        Subject { key: Some(name.to_string()), version: Some(number.number()), kid, ..Subject::default() },
    );
    let spki = version.public_spki.as_deref();
    let spki = spki.ok_or_else(|| Problem::new(Code::UnsupportedOperation, NO_PUBLIC_HALF))?;
    Ok(HttpResponse::Ok().content_type("application/x-pem-file").body(jwk::public_pem(spki)))
}
