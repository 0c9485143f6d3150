//! `POST /v1/tokens/revoke` (RFC 7009, and more).

use actix_web::{HttpRequest, HttpResponse, web::Data};
use chrono::{DateTime, TimeDelta, Utc};
use claviger_actors::{
    audit::Subject,
    keyring::{
        Snapshot,
        record::{Key, Origin, Time},
    },
    tokens::{Kind, RefreshToken, Revoke},
};
use claviger_entity::{HumanDuration, KeyName, Kid};
use claviger_policy::Permission;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    facts,
    form::FormOrJson,
    opened::{self, Opened},
};
use crate::http::{
    authority::{self, forbidden},
    door::unsure,
    keys::note,
    problem::{Code, Problem},
    state::{AppState, Caller},
};

/// Longest `jti` and `sub`.
const TEXT_MAX: usize = 1_024;
/// How long tokens may live where nobody here has set it, or has taken down what it was.
const UNKNOWN: HumanDuration = HumanDuration::from_days(366);
/// For clocks, and for what is being issued just now.
const MARGIN: TimeDelta = TimeDelta::minutes(5);

/// What to revoke: one of `token`, `jti`, `family`, `subject` and `kid`.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeRequest {
    /// An access token, or a refresh token with all of its family. One that is not known, or has expired, is no error.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    token: Option<Zeroizing<String>>,
    /// Taken, and not needed: tokens are told apart by their looks.
    #[serde(default)]
    #[expect(dead_code, reason = "RFC 7009 has it")]
    token_type_hint: Option<String>,
    /// The access token of this id.
    #[serde(default)]
    #[schema(max_length = 1024)]
    jti: Option<String>,
    /// Every token of this family, the claim `fid`.
    #[serde(default)]
    family: Option<String>,
    /// Every token of this `sub` that was issued before now, and whatever could be had for a refresh token of then.
    #[serde(default)]
    #[schema(max_length = 1024)]
    subject: Option<String>,
    /// Every token made with this version of a key before now.
    #[serde(default)]
    kid: Option<String>,
    /// With `jti` or `subject`: among the tokens of this key only.
    #[serde(default)]
    key: Option<KeyName>,
}

/// What was revoked.
#[derive(Serialize, utoipa::ToSchema)]
pub struct RevokeAnswer {
    /// `false`: there was nothing to revoke.
    revoked: bool,
    /// Everything of the subject or version that was issued until then; null = it does not go by time.
    before: Option<DateTime<Utc>>,
}

const NOTHING: RevokeAnswer = RevokeAnswer { revoked: false, before: None };

/// Revokes tokens (RFC 7009), and remembers it until they would have expired. Takes a form or JSON. This node refuses them once it has
/// answered; all nodes do within half a second, or two seconds without Redis. `jti` and `subject` may concern the tokens of any key, so without `key` they
/// need the permission `token.revoke_any` beside `token.revoke`.
///
/// # Errors
/// `invalid_request`, `forbidden`, `key_not_found`, `overloaded` when a key has as many live revocations as are left to all others.
#[utoipa::path(post, path = "/v1/tokens/revoke", tag = "tokens",
    request_body(content((RevokeRequest = "application/json"), (RevokeRequest = "application/x-www-form-urlencoded"))), responses(
    (status = 200, description = "What was revoked", body = RevokeAnswer),
))]
pub async fn revoke(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    FormOrJson(given): FormOrJson<RevokeRequest>,
) -> Result<HttpResponse, Problem> {
    let answer = match What::of(given)? {
        What::Token(token) => token_of_any_kind(&request, &state, &caller, &token).await,
        What::Family(family) => whole_family(&request, &state, &caller, family).await,
        What::Jti(jti, key) => by_value(&request, &state, &caller, (Kind::Token, &jti), key).await,
        What::Subject(subject, key) => {
            by_value(&request, &state, &caller, (Kind::Subject, &subject), key).await
        }
        What::Version(kid) => version(&request, &state, &caller, &kid).await,
    }?;
    Ok(HttpResponse::Ok().json(answer))
}

/// What a request names.
enum What {
    Token(Zeroizing<String>),
    Jti(String, Option<KeyName>),
    Family(Uuid),
    Subject(String, Option<KeyName>),
    Version(Kid),
}

impl What {
    fn of(given: RevokeRequest) -> Result<Self, Problem> {
        let RevokeRequest { token, jti, family, subject, kid, key, .. } = given;
        let bounded = |text: String| {
            let rule = || Problem::invalid("jti and subject must be 1 to 1024 bytes");
            (1..=TEXT_MAX).contains(&text.len()).then_some(text).ok_or_else(rule)
        };
        match (token, jti, family, subject, kid, key) {
            (Some(token), None, None, None, None, None) => Ok(Self::Token(token)),
            (None, Some(jti), None, None, None, key) => Ok(Self::Jti(bounded(jti)?, key)),
            (None, None, Some(family), None, None, None) => {
                let rule = |_| Problem::invalid("family must be the claim fid of a token, a UUID");
                Uuid::try_parse(&family).map(Self::Family).map_err(rule)
            }
            (None, None, None, Some(subject), None, key) => Ok(Self::Subject(bounded(subject)?, key)),
            (None, None, None, None, Some(kid), None) => {
                let kid = kid.parse().map_err(|_| Problem::new(Code::KeyNotFound, "there is no such kid"))?;
                Ok(Self::Version(kid))
            }
            _ => Err(Problem::invalid(
                "name one of token, jti, family, subject and kid; key goes with jti and subject only",
            )),
        }
    }
}

/// Carries it out.
async fn done(
    request: &HttpRequest,
    state: &AppState,
    caller: &Caller,
    revoke: Revoke<'_>,
    subject: Subject,
) -> Result<RevokeAnswer, Problem> {
    note(request, subject.clone());
    let revoked = state.tokens.revoke(revoke, (&caller.context(), subject.clone())).await?;
    note(request, Subject { revocation: Some(Box::new(revoked.kept)), ..subject });
    Ok(RevokeAnswer { revoked: true, before: revoked.before })
}

async fn token_of_any_kind(
    request: &HttpRequest,
    state: &AppState,
    caller: &Caller,
    token: &str,
) -> Result<RevokeAnswer, Problem> {
    // One that names no key is nobody's, and nothing is told of it.
    caller.decided();
    if let Some(refresh) = RefreshToken::parse(token) {
        return match state.tokens.find(&refresh).await? {
            Some(found) => whole_family(request, state, caller, found.family).await,
            None => Ok(NOTHING),
        };
    }
    let mut found = access_token(state, caller, token)?;
    if found.is_empty() && state.cluster.is_shared() {
        // Another node may have made its key a moment ago.
        if !state.cluster.refresh().await {
            return Err(unsure());
        }
        found = access_token(state, caller, token)?;
    }
    let mut answer = NOTHING;
    for (jti, key, until, subject) in found {
        let revoke = Revoke { kind: Kind::Token, value: &jti, key: Some(key), of: Some(key), until };
        answer = done(request, state, caller, revoke, subject).await?;
    }
    Ok(answer)
}

/// Name, key and end of an access token that is not over yet, by each key that opens it. Only the tokens of these keys go by that name: what
/// another key makes may carry any.
fn access_token(
    state: &AppState,
    caller: &Caller,
    token: &str,
) -> Result<Vec<(String, Uuid, Time, Subject)>, Problem> {
    let snapshot = state.ring.snapshot();
    let opened = opened::open_by_all(state, &snapshot, caller, token, Permission::TokenRevoke)?;
    Ok(opened.iter().filter_map(|opened| to_revoke(state, opened, token)).collect())
}

fn to_revoke(state: &AppState, opened: &Opened<'_>, token: &str) -> Option<(String, Uuid, Time, Subject)> {
    let end = opened.claims.get("exp").map_or(Some(Time::MAX_UTC), |exp| {
        // One that has a fraction ends within the next second.
        let fraction = i64::from(exp.as_i64().is_none());
        facts::seconds(exp).and_then(|exp| DateTime::from_timestamp(exp.checked_add(fraction)?, 0))
    });
    let end = end.filter(|end| *end > state.clock.now())?;
    let record = &opened.usable.key.record;
    let subject = Subject {
        key: Some(record.name.to_string()),
        version: Some(opened.usable.version.version.number()),
        kid: Some(opened.usable.version.kid.to_string()),
        jti: facts::text(&opened.claims, "jti").filter(|jti| jti.len() <= TEXT_MAX).map(str::to_owned),
        ..Subject::default()
    };
    Some((facts::name(&opened.claims, token).into_owned(), record.id, end, subject))
}

async fn whole_family(
    request: &HttpRequest,
    state: &AppState,
    caller: &Caller,
    family: Uuid,
) -> Result<RevokeAnswer, Problem> {
    caller.decided();
    let Some((key, end)) = state.tokens.family(family).await? else { return Ok(NOTHING) };
    let value = family.to_string();
    let mut found = of_family(state, caller, (key, end), &value)?;
    if found.is_none() && state.cluster.is_shared() {
        // Another node may have made its key, or given the caller the right, a moment ago.
        if !state.cluster.refresh().await {
            return Err(unsure());
        }
        found = of_family(state, caller, (key, end), &value)?;
    }
    let Some((until, subject)) = found else { return Ok(NOTHING) };
    let revoke = Revoke { kind: Kind::Family, value: &value, key: None, of: Some(key), until };
    done(request, state, caller, revoke, subject).await
}

/// Until when a family must be remembered, and what the record says; `None` when its key is gone or not the caller's to see.
fn of_family(
    state: &AppState,
    caller: &Caller,
    (key, end): (Uuid, Time),
    family: &str,
) -> Result<Option<(Time, Subject)>, Problem> {
    let snapshot = state.ring.snapshot();
    // A key that is gone has no tokens any more.
    let Some(key) = snapshot.ring().keys().find(|known| known.record.id == key) else { return Ok(None) };
    if may(state, &snapshot, caller, key)?.is_none() {
        return Ok(None);
    }
    let until = later(end.max(longest([key.as_ref()], state)).max(next_refresh(state)));
    let key = Some(key.record.name.to_string());
    Ok(Some((until, Subject { key, family: Some(family.to_owned()), ..Subject::default() })))
}

/// When a refresh token ends that somebody is given in this moment, beside whatever is being revoked.
fn next_refresh(state: &AppState) -> Time {
    state.clock.now() + state.token_times.refresh.to_delta()
}

/// The caller may revoke tokens of the key; `None` when they may not even see it.
fn may(state: &AppState, snapshot: &Snapshot, caller: &Caller, key: &Key) -> Result<Option<()>, Problem> {
    match authority::on_key(state, snapshot, caller, Permission::TokenRevoke, &key.record) {
        Ok(()) => Ok(Some(())),
        Err(problem) if problem.code == Code::KeyNotFound => Ok(None),
        Err(problem) => Err(problem),
    }
}

async fn by_value(
    request: &HttpRequest,
    state: &AppState,
    caller: &Caller,
    (kind, value): (Kind, &str),
    key: Option<KeyName>,
) -> Result<RevokeAnswer, Problem> {
    let snapshot = match &key {
        Some(name) => state.snapshot_with(name).await?,
        None => state.ring.snapshot(),
    };
    let mut subject = Subject::default();
    if kind == Kind::Token {
        subject.jti = Some(value.to_owned());
    } else {
        subject.sub_hash = snapshot.audit_hash(value);
    }
    let (key, mut until) = if let Some(name) = &key {
        let key = authority::key(state, &snapshot, caller, Permission::TokenRevoke, name)?;
        subject.key = Some(name.to_string());
        (Some(key.record.id), longest([key.as_ref()], state))
    } else {
        let any = Permission::TokenRevokeAny;
        subject.permission = Some(any.as_str().to_owned());
        note(request, subject.clone());
        caller.decided();
        if !state.authorizer.permits_deployment(&snapshot, &caller.identity, any) {
            return Err(forbidden(any));
        }
        (None, longest(snapshot.ring().keys().map(AsRef::as_ref), state))
    };
    drop(snapshot);
    if kind == Kind::Subject {
        // What was granted before stays refused for as long as it could be asked for.
        let latest = state.tokens.latest_end().await?;
        until = until.max(next_refresh(state)).max(latest.unwrap_or(until));
    }
    let revoke = Revoke { kind, value, key, of: key, until: later(until) };
    done(request, state, caller, revoke, subject).await
}

async fn version(
    request: &HttpRequest,
    state: &AppState,
    caller: &Caller,
    kid: &Kid,
) -> Result<RevokeAnswer, Problem> {
    let (until, of, subject) = {
        let snapshot = state.ring.snapshot();
        let missing = || Problem::new(Code::KeyNotFound, "there is no such kid");
        let (key, version) = snapshot.ring().by_kid(kid).ok_or_else(missing)?;
        if key.record.name.is_internal() {
            return Err(missing());
        }
        // Of a key that the caller may not see, nothing is told.
        may(state, &snapshot, caller, key)?.ok_or_else(missing)?;
        let subject = Subject {
            key: Some(key.record.name.to_string()),
            version: Some(version.version.number()),
            kid: Some(kid.to_string()),
            ..Subject::default()
        };
        (longest([key.as_ref()], state), Some(key.record.id), subject)
    };
    let revoke = Revoke { kind: Kind::Version, value: kid.as_str(), key: None, of, until: later(until) };
    done(request, state, caller, revoke, subject).await
}

/// With a margin.
fn later(moment: Time) -> Time {
    moment.checked_add_signed(MARGIN).unwrap_or(Time::MAX_UTC)
}

/// When no token that any of these keys has made until now can be valid any more.
fn longest<'a>(keys: impl IntoIterator<Item = &'a Key>, state: &AppState) -> Time {
    let mut longest = claviger_entity::domain::claims::ClaimRules::DEFAULT_MAX_TTL;
    for key in keys {
        let rules = &key.record.claims;
        if rules.allow_missing_exp {
            return Time::MAX_UTC;
        }
        // Of a key of a release that did not take it down, nobody knows how long tokens may live any more than of one from elsewhere.
        longest = longest.max(rules.max_ttl()).max(key.record.longest_ttl().unwrap_or(UNKNOWN));
        if key.versions.values().any(|version| version.origin == Origin::Imported) {
            longest = longest.max(UNKNOWN);
        }
    }
    state.clock.now() + longest.to_delta()
}
