//! `POST /v1/keys/{name}/export`: material leaves sealed to a recipient, never in clear.

use std::{io::Write as _, str::FromStr as _};

use actix_web::{HttpRequest, HttpResponse, web::Data};
use age::armor::{ArmoredWriter, Format};
use claviger_actors::audit::Subject;
use claviger_entity::{KeyName, Kid, VersionNumber};
use serde::{Deserialize, Serialize};

use super::{note, note_key};
use crate::http::{
    body::{PathName, StrictJson},
    problem::{Code, Problem},
    state::AppState,
};

/// To whom, and which version.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportRequest {
    /// An age X25519 recipient: `age1…`.
    recipient: String,
    /// The primary unless given.
    #[serde(default)]
    version: Option<VersionNumber>,
}

/// Sealed material: raw bytes for symmetric types, PKCS#8 DER for asymmetric ones.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Exported {
    version: VersionNumber,
    kid: Kid,
    /// `raw` or `pkcs8`.
    format: &'static str,
    /// An armored age file.
    ciphertext: String,
}

/// Exports one version of an exportable key.
///
/// # Errors
/// `key_not_found`, `version_not_found`, `key_state_conflict`, `unsupported_operation`, `invalid_request`.
#[utoipa::path(post, path = "/v1/keys/{name}/export", tag = "keys", params(("name" = KeyName, Path)), request_body = ExportRequest, responses(
    (status = 200, description = "The sealed material", body = Exported),
))]
pub async fn export(
    request: HttpRequest,
    state: Data<AppState>,
    PathName(name): PathName,
    StrictJson(given): StrictJson<ExportRequest>,
) -> Result<HttpResponse, Problem> {
    note_key(&request, &state, &name);
    let snapshot = state.ring.snapshot();
    let key = snapshot.key(&name)?;
    if !key.record.exportable {
        return Err(Problem::new(Code::UnsupportedOperation, "the key was not created exportable"));
    }
    let version = match given.version {
        Some(number) => key.versions.get(&number),
        None => key.primary(),
    };
    let version =
        version.ok_or_else(|| Problem::new(Code::VersionNotFound, "the key has no such version"))?;
    if !version.state.may_consume() {
        return Err(Problem::new(Code::KeyStateConflict, "a version in this state is not exported"));
    }
    let kid = version.kid.clone();
    note(
        &request,
        Subject {
            key: Some(name.to_string()),
            version: Some(version.version.number()),
            kid: Some(kid.to_string()),
            ..Subject::default()
        },
    );
    let recipient = age::x25519::Recipient::from_str(given.recipient.trim())
        .map_err(|_| Problem::invalid("recipient must be an age X25519 recipient (age1…)"))?;
    let secret = snapshot.reveal(key, version)?;
    let ciphertext = seal(&recipient, secret.expose())
        .ok_or_else(|| Problem::new(Code::Internal, "the service failed; its log says why"))?;
    let format = if key.record.key_type.is_asymmetric() { "pkcs8" } else { "raw" };
    Ok(HttpResponse::Ok().json(Exported { version: version.version, kid, format, ciphertext }))
}

fn seal(recipient: &age::x25519::Recipient, secret: &[u8]) -> Option<String> {
    let recipients = std::iter::once::<&dyn age::Recipient>(recipient);
    let encryptor = age::Encryptor::with_recipients(recipients).ok()?;
    let armored = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor).ok()?;
    let mut writer = encryptor.wrap_output(armored).ok()?;
    writer.write_all(secret).ok()?;
    String::from_utf8(writer.finish().ok()?.finish().ok()?).ok()
}
