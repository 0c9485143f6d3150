//! `POST /v1/scan`, `GET /v1/scan`: whether something that was found lying about is a credential of this deployment.
//!
//! A candidate is what its finder could present at any door, so this tells them nothing that they could not find out there; but the record
//! says that it was looked for, no credential counts as used, and many are looked at together. Nothing of a candidate is kept or logged. What
//! is no credential, such as a secret of a replaced system, is never sent: its finder compares fingerprints.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use chrono::{DateTime, Utc};
use claviger_actors::{
    audit::Subject,
    keyring::{Snapshot, internal, record::Origin},
    tokens::{Facts, RefreshToken, begun},
};
use claviger_crypto::{
    digest, jwe,
    jws::{self, KidClaim},
    token::{self, ParsedToken},
};
use claviger_entity::{KeyName, KeyState, Kid, VersionNumber};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{
    body::StrictJson, keys::note, problem::Problem, slice::Slice, state::AppState, tokens::facts::is_revoked,
};

/// Candidates of one request.
const CANDIDATES_MAX: usize = 1_000;
/// Longest candidate, in bytes.
const CANDIDATE_MAX: usize = 16 << 10;
/// What fingerprints of legacy secrets are made over.
const FINGERPRINT: &str = "claviger-scan-v1";

/// What was found.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScanRequest {
    /// API keys, device tokens, refresh tokens and tokens, each as it would be presented; at most 1,000 of at most 16384 bytes.
    #[schema(value_type = Vec<String>, max_items = 1000)]
    candidates: Vec<Zeroizing<String>>,
}

/// What the candidates are, in their order.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ScanAnswer {
    results: Vec<Finding>,
}

/// What a candidate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// An API key.
    ApiKey,
    /// The token of a device.
    DeviceToken,
    /// A refresh token.
    RefreshToken,
    /// A token that this deployment has made.
    Token,
    /// Nothing of this deployment.
    Unknown,
}

/// What a candidate is, and how to end it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Finding {
    kind: Found,
    /// Somebody who has it can use it now.
    live: bool,
    /// Why, in a few words.
    why: &'static str,
    /// What it is called: id and name of an API key, id of a device, family, or `jti`.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// The key that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<KeyName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<DateTime<Utc>>,
    /// The command that ends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoke: Option<String>,
}

/// Fingerprints of imported secrets.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ScanFingerprints {
    /// HMAC-SHA-256 under this salt, hexadecimal, over a candidate's SHA-256 (for some types, the candidate itself) is its fingerprint.
    salt: String,
    items: Vec<Fingerprint>,
}

/// What stands for an imported secret.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Fingerprint {
    /// HMAC-SHA-256, hexadecimal.
    fingerprint: String,
    key: KeyName,
    version: VersionNumber,
    kid: Kid,
    state: KeyState,
}

impl Finding {
    const fn of(kind: Found, live: bool, why: &'static str) -> Self {
        Self { kind, live, why, name: None, key: None, expires_at: None, revoke: None }
    }
}

/// Says of each candidate whether it is a credential of this deployment, whether it is live, and which command ends it.
///
/// # Errors
/// `invalid_request`.
#[utoipa::path(post, path = "/v1/scan", tag = "operations", request_body = ScanRequest, responses(
    (status = 200, description = "What the candidates are", body = ScanAnswer),
))]
pub async fn scan(
    request: HttpRequest,
    state: Data<AppState>,
    StrictJson(given): StrictJson<ScanRequest>,
) -> Result<HttpResponse, Problem> {
    let fits = given.candidates.len() <= CANDIDATES_MAX
        && given.candidates.iter().all(|candidate| candidate.len() <= CANDIDATE_MAX);
    if !fits {
        return Err(Problem::invalid("candidates must be at most 1000, of at most 16384 bytes each"));
    }
    note(&request, Subject { count: Some(given.candidates.len()), ..Subject::default() });
    // What another node has made a moment ago is live too.
    state.catch_up().await;
    let (mut results, mut slice) = (Vec::with_capacity(given.candidates.len()), Slice::begin());
    for candidate in &given.candidates {
        slice.rest().await;
        results.push(judge(&state, candidate).await?);
    }
    Ok(HttpResponse::Ok().json(ScanAnswer { results }))
}

async fn judge(state: &AppState, candidate: &str) -> Result<Finding, Problem> {
    if let Some(refresh) = RefreshToken::parse(candidate) {
        return of_refresh(state, &refresh).await;
    }
    let snapshot = state.ring.snapshot();
    if candidate.starts_with("clvd_") {
        return Ok(of_device(&snapshot, candidate));
    }
    if candidate.starts_with("clv_") || !candidate.contains('.') {
        return Ok(of_api_key(state, &snapshot, candidate));
    }
    Ok(of_token(state, &snapshot, candidate))
}

fn of_api_key(state: &AppState, snapshot: &Snapshot, candidate: &str) -> Finding {
    let hash = internal::token_hash(snapshot, candidate.as_bytes());
    let holder = hash.and_then(|hash| snapshot.access().holder(&hash, state.clock.now()));
    if let Some((principal, _)) = holder {
        let id = principal.record.id.simple().to_string();
        return Finding {
            name: Some(format!("{id} ({})", principal.record.name)),
            expires_at: principal.record.expires_at,
            revoke: Some(format!("claviger api-keys rotate {id}")),
            ..Finding::of(Found::ApiKey, true, "it is accepted")
        };
    }
    let named = candidate.strip_prefix("clv_").and_then(|rest| rest.split_once('_'));
    let id = named.and_then(|(id, _)| super::authority::api_key_id(id));
    match id.map(|id| snapshot.access().api_key(id)) {
        Some(Some(principal)) => Finding {
            name: Some(principal.record.id.simple().to_string()),
            ..Finding::of(Found::ApiKey, false, "it was replaced, has expired, or is cut short")
        },
        Some(None) => Finding::of(Found::ApiKey, false, "it was deleted, or is of another deployment"),
        None => Finding::of(Found::Unknown, false, "it is no credential of this deployment"),
    }
}

fn of_device(snapshot: &Snapshot, candidate: &str) -> Finding {
    let hash = internal::device_token_hash(snapshot, candidate.as_bytes());
    match hash.and_then(|hash| snapshot.devices().by_token(&hash)) {
        Some((device, role)) => Finding {
            name: Some(device.id.to_string()),
            revoke: Some(format!("claviger devices revoke-token {} --role {}", device.id, role.as_str())),
            ..Finding::of(Found::DeviceToken, true, "it is accepted")
        },
        None => {
            Finding::of(Found::DeviceToken, false, "it was replaced or revoked, or is of another deployment")
        }
    }
}

async fn of_refresh(state: &AppState, refresh: &RefreshToken) -> Result<Finding, Problem> {
    let Some(found) = state.tokens.find(refresh).await? else {
        return Ok(Finding::of(Found::RefreshToken, false, "it has ended, or is of another deployment"));
    };
    let (snapshot, now) = (state.ring.snapshot(), state.clock.now());
    let family = found.family.to_string();
    let began = begun(Some(&family), None, None);
    let facts = Facts {
        key: found.key,
        kid: "",
        jti: "",
        family: Some(&family),
        subject: found.grant.subject(),
        begun: began,
        issued: began,
    };
    let (live, why) = match (found.is_spent, found.expires_at <= now) {
        (true, _) => (false, "it was used"),
        (false, true) => (false, "it has expired"),
        (false, false) if state.tokens.is_revoked(&snapshot, &facts, now) => (false, "it was revoked"),
        (false, false) => (true, "it is accepted"),
    };
    Ok(Finding {
        revoke: live.then(|| format!("claviger tokens revoke --family {family}")),
        name: Some(family),
        key: found.grant.key.parse().ok(),
        expires_at: Some(found.expires_at),
        ..Finding::of(Found::RefreshToken, live, why)
    })
}

fn of_token(state: &AppState, snapshot: &Snapshot, candidate: &str) -> Finding {
    let unknown = || Finding::of(Found::Unknown, false, "it is no token of this deployment");
    let Ok(parsed) = token::parse(candidate) else { return unknown() };
    let KidClaim::Named(kid) = parsed.kid() else { return unknown() };
    let Some((key, version)) = snapshot.ring().by_kid(kid) else { return unknown() };
    let name = key.record.name.clone();
    if name.is_internal() {
        return unknown();
    }
    let Ok(usable) = snapshot.consumer(kid) else {
        let why = "the version that made it is not used any more";
        return Finding { key: Some(name), ..Finding::of(Found::Token, false, why) };
    };
    let claims = match &parsed {
        ParsedToken::Jws(token) => jws::verify(token, &usable.material),
        ParsedToken::Jwe(token) => jwe::decrypt(token, &usable.material),
    };
    let Ok(claims) = claims else {
        return Finding { key: Some(name), ..Finding::of(Found::Unknown, false, "it was altered or forged") };
    };
    let now = state.clock.now();
    let ends = claims.get("exp").and_then(Value::as_f64).map(|exp| exp.floor() as i64);
    let ends = ends.and_then(|exp| DateTime::from_timestamp(exp, 0));
    let jti = claims.get("jti").and_then(Value::as_str).map(str::to_owned);
    let (live, why) = if ends.is_some_and(|ends| ends <= now) {
        (false, "it has expired")
    } else if is_revoked(&state.tokens, snapshot, (&usable, candidate), &claims, now) {
        (false, "it was revoked")
    } else {
        (true, "it is accepted")
    };
    let revoke = match &jti {
        Some(jti) if is_plain(jti) => format!("claviger tokens revoke --jti {jti} --key {name}"),
        Some(_) | None => format!("claviger tokens revoke --kid {}", version.kid),
    };
    Finding {
        name: jti,
        key: Some(name),
        expires_at: ends,
        revoke: live.then_some(revoke),
        ..Finding::of(Found::Token, live, why)
    }
}

/// It means itself in a shell.
fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// Tells what to look for when secrets of replaced systems are looked for: fingerprints of imported symmetric material, under a salt of this
/// deployment. Whoever has no secret learns none from them, as long as nobody could guess it.
///
/// # Errors
/// None of its own.
#[utoipa::path(get, path = "/v1/scan", tag = "operations", responses(
    (status = 200, description = "Fingerprints", body = ScanFingerprints),
))]
pub async fn fingerprints(state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let snapshot = state.ring.snapshot();
    let salt = snapshot.audit_hash(FINGERPRINT).unwrap_or_default();
    let (mut items, mut slice) = (Vec::new(), Slice::begin());
    for key in snapshot.ring().keys() {
        slice.rest().await;
        let record = &key.record;
        if record.name.is_internal() || record.deleted_at.is_some() || record.key_type.is_asymmetric() {
            continue;
        }
        for version in key.versions.values().filter(|version| version.origin == Origin::Imported) {
            let Ok(secret) = snapshot.reveal(key, version) else { continue };
            items.push(Fingerprint {
                fingerprint: hex(&digest::hmac_sha256(salt.as_bytes(), &[secret.expose()])),
                key: record.name.clone(),
                version: version.version,
                kid: version.kid.clone(),
                state: version.state,
            });
        }
    }
    Ok(HttpResponse::Ok().json(ScanFingerprints { salt, items }))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text never fails.
        let _whole = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_into_a_command_means_itself() {
        for (text, is) in [("0197-ab_c.d", true), ("", false), ("-x", false), ("a b", false), ("$(x)", false)]
        {
            assert_eq!(is_plain(text), is, "{text}");
        }
        assert_eq!(hex(&[0, 255, 16]), "00ff10");
    }
}
