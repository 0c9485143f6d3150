//! `POST /v1/backups`: everything, encrypted to a recipient, as a stream. `POST /v1/backups/checks`: one was tested.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Bytes, Data},
};
use chrono::{DateTime, Utc};
use claviger_actors::{
    audit::{BackupSubject, Subject},
    backup::{BackupError, Lock},
};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    body::StrictJson,
    keys::note,
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

/// A backup that was read to its end with the master key, elsewhere.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackupCheckRequest {
    /// The deployment that it is of.
    deployment: Uuid,
    /// Epoch at which it was made.
    epoch: u64,
    /// When it was made.
    made_at: DateTime<Utc>,
}

/// That was put on record.
#[derive(Serialize, utoipa::ToSchema)]
pub struct BackupCheckAnswer {
    epoch: u64,
    made_at: DateTime<Utc>,
    checked_at: DateTime<Utc>,
}

/// Puts on record that a backup was tested: whoever asks has read it to its end, as `claviger restore --check` does. The report lists these.
///
/// # Errors
/// `invalid_request` when it is of another deployment, or of a time to come.
#[utoipa::path(post, path = "/v1/backups/checks", tag = "operations", request_body = BackupCheckRequest, responses(
    (status = 201, description = "It is on record", body = BackupCheckAnswer),
))]
pub async fn check(
    request: HttpRequest,
    state: Data<AppState>,
    StrictJson(given): StrictJson<BackupCheckRequest>,
) -> Result<HttpResponse, Problem> {
    let snapshot = state.ring.snapshot();
    let BackupCheckRequest { deployment, epoch, made_at } = given;
    if deployment != snapshot.keychain().deployment() {
        return Err(Problem::invalid("the backup is of another deployment; name a server of its own"));
    }
    let now = state.clock.now();
    if epoch > snapshot.epoch.0 || made_at > now {
        return Err(Problem::invalid("the backup is of a time to come; ask a node that is not behind"));
    }
    let backup = BackupSubject { backup_epoch: epoch, backup_made_at: made_at };
    note(&request, Subject { backup: Some(Box::new(backup)), ..Subject::default() });
    Ok(HttpResponse::Created().json(BackupCheckAnswer { epoch, made_at, checked_at: now }))
}

fn refused(error: BackupError) -> Problem {
    Problem::invalid(error.to_string())
}
