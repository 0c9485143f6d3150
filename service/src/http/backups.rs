//! `POST /v1/backups`: everything, encrypted to a recipient, as a stream.

use actix_web::{
    HttpResponse,
    http::header,
    web::{Bytes, Data},
};
use claviger_actors::backup::{BackupError, Lock};
use futures_util::stream;
use serde::Deserialize;

use super::{
    body::StrictJson,
    problem::{Code, Problem},
    state::AppState,
};

/// To whom.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackupRequest {
    /// An age X25519 recipient: `age1…`. That of `backup.recipient` unless given.
    #[serde(default)]
    recipient: Option<String>,
}

/// An age file, as `claviger restore` takes it.
#[derive(utoipa::ToSchema)]
#[schema(value_type = String, format = Binary)]
pub struct BackupFile(#[expect(dead_code, reason = "it says what is written")] Vec<u8>);

/// Makes a backup of everything as it is now and streams it, encrypted to a recipient. Material in it stays sealed under the master. A stream
/// that is cut off is no backup: a restore refuses it.
///
/// # Errors
/// `invalid_request` when there is no recipient; `overloaded` while this node makes another one, or when the database does not answer.
#[utoipa::path(post, path = "/v1/backups", tag = "operations", request_body = BackupRequest, responses(
    (status = 200, description = "The backup", body = BackupFile, content_type = "application/octet-stream"),
))]
pub async fn create(
    state: Data<AppState>,
    StrictJson(given): StrictJson<BackupRequest>,
) -> Result<HttpResponse, Problem> {
    let lock = match (&given.recipient, state.backups.lock()) {
        (Some(recipient), _) => Lock::recipients([recipient.as_str()]).map_err(refused)?,
        (None, Some(lock)) => lock.clone(),
        (None, None) => {
            return Err(Problem::invalid("name a recipient (age1…); backup.recipient is not configured"));
        }
    };
    let busy =
        || Problem::new(Code::Overloaded, "this node makes a backup already; try again when it is done");
    let mut pieces = state.backups.stream(&state, lock).ok_or_else(busy)?;
    // What fails at once is an answer of its own.
    let first = match pieces.recv().await {
        Some(Ok(first)) => first,
        Some(Err(error)) => {
            tracing::error!(%error, "there is no backup");
            return Err(Problem::new(
                Code::Overloaded,
                "the backup could not be begun; the log of the node says why",
            ));
        }
        None => return Err(Problem::new(Code::Internal, "the service failed; its log says why")),
    };
    let name =
        format!("attachment; filename=\"claviger-{}.age\"", state.clock.now().format("%Y%m%dT%H%M%SZ"));
    let rest = stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces.recv().await?;
        Some((piece, pieces))
    });
    let all = stream::StreamExt::chain(stream::iter([Ok::<Bytes, std::io::Error>(first)]), rest);
    Ok(HttpResponse::Ok()
        .content_type("application/octet-stream")
        .insert_header((header::CONTENT_DISPOSITION, name))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .streaming(Box::pin(all)))
}

fn refused(error: BackupError) -> Problem {
    Problem::invalid(error.to_string())
}
