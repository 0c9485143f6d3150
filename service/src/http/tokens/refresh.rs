//! `POST /v1/tokens/refresh`.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web::Data};
use chrono::TimeDelta;
use claviger_actors::{
    audit::Subject,
    keyring::IdempotencyTicket,
    store::IdempotencyRecord,
    tokens::{Exchanged, Found, Outcome, RefreshToken, Successor},
};
use claviger_crypto::secret::SecretBytes;
use claviger_entity::{HumanDuration, KeyName};
use claviger_policy::Permission;
use serde::Deserialize;

use super::{
    issue::IssueAnswer,
    pair::{self, Refresh},
};
use crate::http::{
    authority,
    body::StrictJson,
    keys::note,
    problem::{Code, Problem},
    quota,
    state::{AppState, Caller},
};

/// How long an answer is kept for a retry.
const KEPT_HOURS: i64 = 24;

/// A refresh token to exchange.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefreshRequest {
    /// `clvr_<id>_<secret>`.
    #[schema(value_type = String)]
    refresh_token: zeroize::Zeroizing<String>,
}

/// Exchanges a refresh token for a new pair with the claims of the first one. It is good for one use: whoever presents it a second time
/// gets none, and nobody gets anything more out of its family, since one of the two is a thief. A retry with the same `Idempotency-Key`
/// gets the same pair.
///
/// # Errors
/// `token_invalid`, `token_expired`, `token_revoked`, `token_reused`, `forbidden`, `key_not_found`, `key_state_conflict`.
#[utoipa::path(post, path = "/v1/tokens/refresh", tag = "tokens", request_body = RefreshRequest, responses(
    (status = 200, description = "The new pair", body = IssueAnswer),
))]
pub async fn refresh(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    StrictJson(given): StrictJson<RefreshRequest>,
) -> Result<HttpResponse, Problem> {
    let found = match RefreshToken::parse(&given.refresh_token) {
        Some(token) => state.tokens.find(&token).await?,
        None => None,
    };
    let Some(found) = found else {
        quota::on_made_up(&state, &caller)?;
        return Err(invalid(&state, "the refresh token is not one of this service's"));
    };
    let (successor, answer) = prepared(&request, &state, &caller, &found).await?;
    let leeway = Duration::from_secs(state.token_times.reuse_leeway.as_secs());
    let exchanged = state.tokens.exchange(&found, successor, (leeway, &caller.context())).await?;
    match exchanged {
        Exchanged::Refreshed => Ok(HttpResponse::Ok().json(answer)),
        Exchanged::Repeated(kept) => {
            let kept: IssueAnswer = serde_json::from_slice(kept.expose())
                .map_err(|_| Problem::new(Code::Internal, "the kept answer can't be read"))?;
            Ok(HttpResponse::Ok().json(kept))
        }
        Exchanged::Reused => {
            let detail = "the refresh token was used before, so its whole family is revoked; log in again";
            Err(Problem::new(Code::TokenReused, detail))
        }
        Exchanged::Revoked => Err(Problem::new(Code::TokenRevoked, "the token was revoked; log in again")),
        Exchanged::Expired => {
            Err(Problem::new(Code::TokenExpired, "the refresh token has expired; log in again"))
        }
        Exchanged::Mismatch => {
            Err(Problem::invalid("this Idempotency-Key was used for another request; choose a new one"))
        }
    }
}

fn invalid(state: &AppState, detail: &str) -> Problem {
    state.tokens.count(Outcome::Invalid);
    Problem::new(Code::TokenInvalid, detail)
}

/// The pair that is to follow, before it is known whether it counts. The ring is let go of with the return.
async fn prepared(
    request: &HttpRequest,
    state: &AppState,
    caller: &Caller,
    found: &Found,
) -> Result<(Successor, IssueAnswer), Problem> {
    let gone = || invalid(state, "the key of the refresh token is gone; log in again");
    let name: KeyName = found.grant.key.parse().map_err(|_| gone())?;
    let (snapshot, _turn) = pair::in_turn(state, &name).await?;
    let record = match snapshot.key(&name) {
        Ok(key) if key.record.id == found.key => &key.record,
        Ok(_) | Err(_) => return Err(gone()),
    };
    let family = found.family.to_string();
    let mut subject = Subject {
        key: Some(name.to_string()),
        family: Some(family),
        sub_hash: found.grant.subject().and_then(|subject| snapshot.audit_hash(subject)),
        ..Subject::default()
    };
    note(request, subject.clone());
    authority::on_key(state, &snapshot, caller, Permission::TokenRefresh, record)?;
    quota::on_family(state, found.family)?;
    quota::on_key(state, record.id)?;
    // Afterwards is too late: the token will have been spent.
    state.is_current(snapshot.confirmed())?;
    let access = pair::access(state, &snapshot, caller, record, (&found.grant, found.family))?;
    let mut answer = access.answer;
    subject.version = Some(access.version.number());
    subject.kid = Some(answer.kid().to_string());
    subject.jti = Some(answer.jti().to_string());
    note(request, subject.clone());
    let refresh = Refresh::next(state, (found.family, found.key), &found.grant)?;
    let access = HumanDuration::from_secs(found.grant.lifetime);
    let longest = access.max(state.token_times.refresh).to_delta();
    let family_until = state.clock.now() + longest + TimeDelta::minutes(5);
    refresh.show(&mut answer);
    let bytes: SecretBytes = serde_json::to_vec(&answer)
        .map_err(|_| Problem::new(Code::Internal, "the service failed; its log says why"))?
        .into();
    let idempotency =
        caller.idempotency.as_ref().map(|ticket| kept(ticket, bytes.clone(), state.clock.now()));
    Ok((Successor { refresh: refresh.new, answer: bytes, idempotency, family_until, subject }, answer))
}

/// The outcome of an exchange, kept in its own transaction: the node may die before the door keeps the answer.
fn kept(
    ticket: &IdempotencyTicket,
    response: SecretBytes,
    now: chrono::DateTime<chrono::Utc>,
) -> IdempotencyRecord {
    IdempotencyRecord {
        scope: ticket.scope.clone(),
        key: ticket.key.clone(),
        request_hash: ticket.request_hash,
        response,
        created_at: now,
        expires_at: now + TimeDelta::hours(KEPT_HOURS),
    }
}
