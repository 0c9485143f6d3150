//! `POST /v1/tokens/introspect` (RFC 7662).

use actix_web::{HttpRequest, HttpResponse, web::Data};
use claviger_actors::{
    audit::Subject,
    keyring::{Snapshot, record::Origin},
    tokens::{Facts, RefreshToken, begun},
};
use claviger_crypto::claims::{self, Expectation};
use claviger_entity::KeyName;
use claviger_policy::Permission;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    facts::{FAMILY, is_revoked},
    form::FormOrJson,
    issue::texts,
    opened::{self, Opened},
};
use crate::http::{
    authority,
    door::unsure,
    keys::note,
    problem::{Code, Problem},
    state::{AppState, Caller},
};

/// A token to ask about.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IntrospectRequest {
    /// An access token or a refresh token.
    #[schema(value_type = String)]
    token: zeroize::Zeroizing<String>,
    /// Taken, and not needed: tokens are told apart by their looks.
    #[serde(default)]
    #[expect(dead_code, reason = "RFC 7662 has it")]
    token_type_hint: Option<String>,
}

/// What is known of a token: its claims, and nothing at all of one that is not active.
#[derive(Serialize, utoipa::ToSchema)]
pub struct IntrospectAnswer {
    active: bool,
    #[serde(flatten)]
    #[schema(value_type = Object)]
    claims: Map<String, Value>,
}

/// Tells whether a token is good, and what it says (RFC 7662). Takes a form or JSON. A token of a key that the caller may not ask about is
/// not active.
///
/// # Errors
/// `invalid_request`, `forbidden`, `unsupported_operation` for a token of a temporary key.
#[utoipa::path(post, path = "/v1/tokens/introspect", tag = "tokens",
    request_body(content((IntrospectRequest = "application/json"), (IntrospectRequest = "application/x-www-form-urlencoded"))), responses(
    (status = 200, description = "What is known", body = IntrospectAnswer),
))]
pub async fn introspect(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    FormOrJson(given): FormOrJson<IntrospectRequest>,
) -> Result<HttpResponse, Problem> {
    // Whether the caller may is a question about the key that the token names; one that names none tells nothing.
    caller.decided();
    let mut found = active(&state, &caller, &given.token).await?;
    if found.is_none() && state.cluster.is_shared() {
        // Another node may have made the key, or the token, a moment ago.
        if !state.cluster.refresh().await {
            return Err(unsure());
        }
        found = active(&state, &caller, &given.token).await?;
    }
    let (claims, subject) = found.unwrap_or_default();
    let active = !claims.is_empty();
    note(&request, Subject { valid: Some(active), ..subject });
    Ok(HttpResponse::Ok().json(IntrospectAnswer { active, claims }))
}

type Known = Option<(Map<String, Value>, Subject)>;

async fn active(state: &AppState, caller: &Caller, token: &str) -> Result<Known, Problem> {
    match RefreshToken::parse(token) {
        Some(token) => of_refresh(state, caller, &token).await,
        None => of_access(state, caller, token),
    }
}

/// `None` for what the caller may not ask about: nothing is told of it.
fn permitted<T>(asked: Result<T, Problem>) -> Result<Option<T>, Problem> {
    match asked {
        Err(problem) if matches!(problem.code, Code::Forbidden | Code::KeyNotFound) => Ok(None),
        asked => asked.map(Some),
    }
}

fn of_access(state: &AppState, caller: &Caller, token: &str) -> Result<Known, Problem> {
    let snapshot = state.ring.snapshot();
    // A key that the caller may see but not ask about is no better than one that they may not see.
    let opened = opened::open(state, &snapshot, caller, token, Permission::TokenIntrospect);
    let Some(opened) = permitted(opened)?.flatten() else { return Ok(None) };
    if opened.usable.key.record.temporary.is_some() {
        let detail = "the key is a temporary one, whose uses are counted; verify the token instead";
        return Err(Problem::new(Code::UnsupportedOperation, detail));
    }
    Ok(if_active(state, &snapshot, token, opened))
}

fn if_active(state: &AppState, snapshot: &Snapshot, token: &str, opened: Opened<'_>) -> Known {
    let (mut claims, usable) = (opened.claims, opened.usable);
    if !usable.version.state.may_consume() {
        return None;
    }
    let rules = &usable.key.record.claims;
    // Whom it is for is for the asker to judge; what it says must be an audience nevertheless.
    let audience = claims.get("aud").map(|aud| texts(Some(aud)).and_then(|texts| texts.first().copied()));
    let audience = match audience {
        None => None,
        Some(first) => Some(first?),
    };
    let expected = Expectation {
        now: state.clock.now().timestamp(),
        issuer: state.issuer(),
        extra_issuers: &rules.issuers,
        allow_missing_iss: usable.version.origin == Origin::Imported,
        audience,
        required: &rules.required,
        allow_missing_exp: rules.allow_missing_exp,
    };
    claims::check(&claims, &expected).ok()?;
    if is_revoked(&state.tokens, snapshot, (&usable, token), &claims, state.clock.now()) {
        return None;
    }
    let subject = Subject {
        key: Some(usable.key.record.name.to_string()),
        version: Some(usable.version.version.number()),
        kid: Some(usable.version.kid.to_string()),
        ..Subject::default()
    };
    claims.remove("active");
    claims.insert("token_type".to_owned(), "Bearer".into());
    claims.insert("kid".to_owned(), usable.version.kid.as_str().into());
    claims.insert("key".to_owned(), usable.key.record.name.as_str().into());
    Some((claims, subject))
}

async fn of_refresh(state: &AppState, caller: &Caller, token: &RefreshToken) -> Result<Known, Problem> {
    let Some(found) = state.tokens.find(token).await? else { return Ok(None) };
    let Ok(name) = found.grant.key.parse::<KeyName>() else { return Ok(None) };
    let (snapshot, now) = (state.ring.snapshot(), state.clock.now());
    let Ok(key) = snapshot.key(&name) else { return Ok(None) };
    let may = authority::on_key(state, &snapshot, caller, Permission::TokenIntrospect, &key.record);
    if permitted(may)?.is_none() {
        return Ok(None);
    }
    let family = found.family.to_string();
    let id = found.id.to_string();
    let begun = begun(Some(&family), None, None);
    let facts = Facts {
        key: found.key,
        kid: "",
        jti: &id,
        family: Some(&family),
        subject: found.grant.subject(),
        begun,
        issued: begun,
    };
    let is_good = !found.is_spent
        && found.expires_at > now
        && key.record.id == found.key
        && !state.tokens.is_revoked(&snapshot, &facts, now);
    if !is_good {
        return Ok(None);
    }
    let mut claims = found.grant.claims;
    claims.remove("active");
    let ours = json!({
        "token_type": "refresh_token", "iss": state.issuer(), "iat": found.issued_at.timestamp(),
        "exp": found.expires_at.timestamp(), "key": name, FAMILY: family,
    });
    if let Value::Object(ours) = ours {
        claims.extend(ours);
    }
    Ok(Some((claims, Subject { key: Some(name.to_string()), ..Subject::default() })))
}
