//! `POST /v1/tokens`.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web::Data};
use chrono::{DateTime, SecondsFormat, Utc};
use claviger_actors::{
    audit::Subject,
    keyring::{Snapshot, core::Use, record::KeyRecord},
};
use claviger_crypto::{json, jwe, jws, token::MAX_TOKEN_BYTES};
use claviger_entity::{HumanDuration, KeyName, KeyType, Kid, Usage};
use claviger_policy::Permission;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    OWN_AUDIENCE,
    facts::FAMILY,
    pair::{self, Refresh},
};
use crate::http::{
    authority,
    body::{Direct, DirectJson},
    keys::note,
    problem::{Code, Problem},
    quota,
    state::{AppState, Caller},
    turn::{self, Place, Turn},
};

/// Claims that are always ours, whatever a request says.
pub(super) const RESERVED: [&str; 5] = ["iss", "iat", "exp", "jti", FAMILY];

/// Signed or encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Signed.
    Jws,
    /// Encrypted.
    Jwe,
}

/// One audience or several.
#[derive(Debug, Clone, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum Audience {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

/// A token to issue.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IssueRequest {
    /// The default key of the format unless given.
    #[serde(default)]
    key: Option<KeyName>,
    /// By the key's type, or `jws`.
    #[serde(default)]
    format: Option<Format>,
    /// Claims; `iss`, `iat`, `exp`, `jti` and `fid` are always the service's own.
    #[serde(default, deserialize_with = "json::strict_object")]
    #[schema(value_type = Object)]
    claims: Map<String, Value>,
    /// Lifetime; `tokens.access_ttl` (1 h) unless given, at most the key's `claims.max_ttl`.
    #[serde(default)]
    expires_in: Option<HumanDuration>,
    /// Becomes `aud`.
    #[serde(default)]
    audience: Option<Audience>,
    /// Becomes `sub`.
    #[serde(default)]
    subject: Option<String>,
    /// A refresh token too; the claim `fid` then names the family.
    #[serde(default)]
    refresh: bool,
}

impl Direct for IssueRequest {}

/// An issued token.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
pub struct IssueAnswer {
    token: String,
    kid: Kid,
    jti: Uuid,
    issued_at: String,
    expires_at: String,
    /// `clvr_<id>_<secret>`, for one use at `/v1/tokens/refresh`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(super) refresh_token: Option<Zeroizing<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) refresh_expires_at: Option<String>,
}

impl IssueAnswer {
    pub(super) fn new(token: String, kid: Kid, jti: Uuid, (issued_at, expires_at): (String, String)) -> Self {
        Self { token, kid, jti, issued_at, expires_at, refresh_token: None, refresh_expires_at: None }
    }

    pub(super) const fn kid(&self) -> &Kid {
        &self.kid
    }

    pub(super) const fn jti(&self) -> Uuid {
        self.jti
    }
}

/// Issues a token (RFC 7519) under the primary of a token key.
///
/// # Errors
/// `invalid_request`, `unsupported_operation`, `key_not_found`, `key_state_conflict`, `forbidden`.
#[utoipa::path(post, path = "/v1/tokens", tag = "tokens", request_body = IssueRequest, responses(
    (status = 201, description = "The token", body = IssueAnswer),
))]
pub async fn issue(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    DirectJson(mut given): DirectJson<IssueRequest>,
) -> Result<HttpResponse, Problem> {
    let name = given.key.take().unwrap_or_else(|| match given.format {
        Some(Format::Jwe) => state.encryption_key.clone(),
        Some(Format::Jws) | None => state.signing_key.clone(),
    });
    let (snapshot, turn) = in_turn(&request, &state, &caller, &name, given.format).await?;
    let record = &authority::key(&state, &snapshot, &caller, Permission::TokenIssue, &name)?.record;
    quota::on_key(&state, record.id)?;
    let may = |permission| authority::on_key(&state, &snapshot, &caller, permission, record);
    let format = format_of(record, given.format)?;
    let now = state.clock.now();
    let lifetime = lifetime(record, given.expires_in, state.token_times.access)?;
    // `iat` is rounded down, so that no verifier sees it in the future.
    let issued_at = DateTime::from_timestamp(now.timestamp(), 0).unwrap_or(now);
    let expires_at = issued_at + lifetime.to_delta();
    let (jti, family) = (state.tokens.new_id(), pair::family(&state, record, given.refresh)?);
    let mut claims = claims(&may, record, given, state.issuer(), (issued_at, expires_at, jti))?;
    let refresh =
        family.map(|family| Refresh::begin(&state, record, family, &mut claims, lifetime)).transpose()?;
    // Whose credential this is belongs on record, as the making of an API key does.
    let is_credential = texts(claims.get("aud")).is_some_and(|audience| audience.contains(&OWN_AUDIENCE));
    let permission = is_credential.then(|| Permission::TokenIssueCredential.as_str().to_owned());
    let subject = claims.get("sub").and_then(Value::as_str);
    let sub_hash = subject.and_then(|subject| snapshot.audit_hash(subject));
    let credential_of = subject.filter(|_| is_credential).map(str::to_owned);

    let primary = snapshot.primary(&name)?;
    let kid = primary.version.kid.clone();
    if record.temporary.is_some() {
        let version = primary.version.version;
        let consumed = state.ring.consume(caller.context_of_part(), name.clone(), version, Use::Produce);
        // Rare, and large: not to be carried about with every request.
        Box::pin(consumed).await?;
    }
    let token = match format {
        Format::Jws => jws::issue(&primary.material, &kid, &claims)?,
        Format::Jwe => jwe::issue(&primary.material, &kid, &claims)?,
    };
    drop(turn);
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Problem::invalid("the token would be longer than 64 KiB; put less into its claims"));
    }
    note(
        &request,
        Subject {
            key: Some(name.as_str().to_owned()),
            version: Some(primary.version.version.number()),
            kid: Some(kid.as_str().to_owned()),
            jti: Some(jti.to_string()),
            sub: credential_of,
            sub_hash,
            permission,
            ..Subject::default()
        },
    );
    let text = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let mut answer = IssueAnswer::new(token, kid, jti, (text(issued_at), text(expires_at)));
    drop(snapshot);
    if let Some(refresh) = refresh {
        Box::pin(state.tokens.begin_family(&refresh.new)).await?;
        refresh.show(&mut answer);
    }
    Ok(HttpResponse::Created().json(answer))
}

/// The ring to work on. Where the work takes long it is the ring at one's turn, and nobody who stands in line holds an older one: whoever
/// waits until that is not used any more would wait for all of them.
async fn in_turn(
    request: &HttpRequest,
    state: &AppState,
    caller: &Caller,
    name: &KeyName,
    format: Option<Format>,
) -> Result<(Arc<Snapshot>, Option<(Turn, Place)>), Problem> {
    let snapshot = state.snapshot_with(name).await?;
    if snapshot.key(name).is_ok() {
        note(request, Subject { key: Some(name.as_str().to_owned()), ..Subject::default() });
    }
    // Whoever may not, or can't, does not stand in line.
    let record = &authority::key(state, &snapshot, caller, Permission::TokenIssue, name)?.record;
    let Some(cost) = turn::cost(record) else { return Ok((snapshot, None)) };
    format_of(record, format)?;
    drop(snapshot);
    let place = Place::take(cost)?;
    let turn = Box::pin(place.turn()).await?;
    Ok((state.ring.snapshot(), Some((turn, place))))
}

fn format_of(record: &KeyRecord, wanted: Option<Format>) -> Result<Format, Problem> {
    if record.usage != Usage::Token {
        return Err(Problem::new(Code::UnsupportedOperation, "tokens are issued by keys of usage token"));
    }
    let format = if record.key_type == KeyType::Aes256Gcm { Format::Jwe } else { Format::Jws };
    if wanted.is_some_and(|wanted| wanted != format) {
        return Err(Problem::new(
            Code::UnsupportedOperation,
            "the key's type does not make tokens of this format",
        ));
    }
    Ok(format)
}

fn lifetime(
    record: &KeyRecord,
    wanted: Option<HumanDuration>,
    usual: HumanDuration,
) -> Result<HumanDuration, Problem> {
    let longest = record.claims.max_ttl();
    let lifetime = wanted.unwrap_or_else(|| usual.min(longest));
    if lifetime > longest {
        return Err(Problem::invalid(format!(
            "expires_in is longer than the key's claims.max_ttl ({longest})"
        )));
    }
    if lifetime < HumanDuration::from_secs(1) {
        return Err(Problem::invalid("expires_in must be at least one second"));
    }
    Ok(lifetime)
}

fn claims(
    may: &impl Fn(Permission) -> Result<(), Problem>,
    record: &KeyRecord,
    given: IssueRequest,
    issuer: &str,
    (issued_at, expires_at, jti): (DateTime<Utc>, DateTime<Utc>, Uuid),
) -> Result<Map<String, Value>, Problem> {
    let mut claims = given.claims;
    for name in RESERVED {
        claims.remove(name);
    }
    if let Some(subject) = given.subject {
        member(&mut claims, "sub", Value::String(subject))?;
    }
    if let Some(audience) = given.audience {
        let audience = serde_json::to_value(audience)
            .map_err(|_| Problem::invalid("audience must be a text or texts"))?;
        member(&mut claims, "aud", audience)?;
    }
    if claims.get("sub").is_some_and(|subject| !subject.is_string()) {
        return Err(Problem::invalid("sub must be a text"));
    }
    if claims.get("nbf").is_some_and(|nbf| !nbf.is_number()) {
        return Err(Problem::invalid("nbf must be a number of seconds"));
    }
    audience(may, record, claims.get("aud"))?;
    claims.insert("iss".to_owned(), issuer.into());
    claims.insert("iat".to_owned(), issued_at.timestamp().into());
    claims.insert("exp".to_owned(), expires_at.timestamp().into());
    claims.insert("jti".to_owned(), jti.to_string().into());
    if !record.claims.required.iter().all(|name| claims.contains_key(name)) {
        return Err(Problem::invalid("a claim is missing that the key's claims.required names"));
    }
    Ok(claims)
}

/// A claim given twice must be the same claim.
fn member(claims: &mut Map<String, Value>, name: &str, value: Value) -> Result<(), Problem> {
    match claims.insert(name.to_owned(), value.clone()) {
        Some(other) if other != value => Err(Problem::invalid(
            "claims.sub or claims.aud contradicts subject or audience; give one of them",
        )),
        Some(_) | None => Ok(()),
    }
}

/// The audience, if it is a text or texts.
pub(super) fn texts(audience: Option<&Value>) -> Option<Vec<&str>> {
    match audience? {
        Value::String(text) => Some(vec![text]),
        Value::Array(list) if !list.is_empty() => list.iter().map(Value::as_str).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

pub(super) fn audience(
    may: &impl Fn(Permission) -> Result<(), Problem>,
    record: &KeyRecord,
    audience: Option<&Value>,
) -> Result<(), Problem> {
    let Some(audience) = audience else { return Ok(()) };
    let texts =
        texts(Some(audience)).ok_or_else(|| Problem::invalid("aud must be a text or a list of texts"))?;
    if texts.contains(&OWN_AUDIENCE) {
        may(Permission::TokenIssueCredential)?;
    }
    let allowed = &record.claims.audiences;
    if !allowed.is_empty() && !texts.iter().all(|text| allowed.iter().any(|allowed| allowed == text)) {
        return Err(Problem::invalid("aud is not one of the key's claims.audiences"));
    }
    Ok(())
}
