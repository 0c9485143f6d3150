//! Bearer credentials (RFC 6750): API keys, tokens of our own that were issued for this service, and tokens of issuers that are trusted.

use actix_web::http::header::{self, HeaderMap};
use chrono::{DateTime, Utc};
use claviger_actors::{
    keyring::{Snapshot, internal, record::Origin},
    tokens::TokensHandle,
};
use claviger_crypto::{
    claims::{self, ClaimsError, Expectation},
    jws::{self, KidClaim},
    token::{self, ParsedToken},
};
use claviger_entity::Usage;
use serde_json::{Map, Value};

use super::{Identity, Issuers, Learned};
use crate::http::tokens::{OWN_AUDIENCE, facts::is_revoked};

/// Longest name of whoever calls.
const NAME_MAX_BYTES: usize = 255;

/// Why nobody was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No credential, or one that is not known here.
    Unknown,
    /// A token whose time is over.
    Expired,
    /// A token of ours that was revoked.
    Revoked,
    /// The certificate of the connection has expired or was revoked since the connection was made.
    Certificate,
}

/// Whoever is known.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// Holders of API keys, and our own keys.
    pub snapshot: &'a Snapshot,
    /// What became of our tokens.
    pub tokens: &'a TokensHandle,
    /// Our own name as an issuer.
    pub issuer: &'a str,
    /// Issuers elsewhere.
    pub issuers: &'a Issuers,
}

/// Recognises the caller by an API key or a token.
///
/// # Errors
/// See [`Refusal`].
pub fn authenticate(known: Known<'_>, credential: &str, now: DateTime<Utc>) -> Result<Identity, Refusal> {
    let identity = judge(known, credential, now)?;
    identity.used(now);
    Ok(identity)
}

/// The same, without using the credential.
///
/// # Errors
/// See [`Refusal`].
pub(super) fn judge(known: Known<'_>, credential: &str, now: DateTime<Utc>) -> Result<Identity, Refusal> {
    let hash = internal::token_hash(known.snapshot, credential.as_bytes()).ok_or(Refusal::Unknown)?;
    if let Some((principal, until)) = known.snapshot.access().holder(&hash, now) {
        return Ok(Identity::ApiKey { principal: std::sync::Arc::clone(principal), until });
    }
    if !credential.contains('.') {
        return Err(Refusal::Unknown);
    }
    let bearer = match bearer_of_token((known.snapshot, known.tokens), known.issuer, credential, now) {
        // Not ours. No issuer elsewhere bears our name, so nobody is recognised twice.
        Err(Refusal::Unknown) => known.issuers.bearer(credential, now),
        judged => judged,
    }?;
    if bearer.is_shut_out(known.snapshot) { Err(Refusal::Revoked) } else { Ok(bearer) }
}

/// Asks elsewhere for a key that would be needed to recognise the caller.
pub async fn learn(issuers: &Issuers, credential: &str) -> Learned {
    issuers.learn(credential).await
}

/// What a request over HTTP presents.
#[must_use]
pub fn credential(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION);
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, credential) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| credential.trim())
}

/// A signed token that names this service as its audience. Only this service can have made it: its key was generated here and never
/// leaves. Whoever may issue for that audience holds a permission of its own, so nobody signs their way up.
fn bearer_of_token(
    (snapshot, tokens): (&Snapshot, &TokensHandle),
    issuer: &str,
    credential: &str,
    now: DateTime<Utc>,
) -> Result<Identity, Refusal> {
    let Ok(ParsedToken::Jws(token)) = token::parse(credential) else { return Err(Refusal::Unknown) };
    let KidClaim::Named(kid) = &token.kid else { return Err(Refusal::Unknown) };
    let usable = snapshot.consumer(kid).map_err(|_| Refusal::Unknown)?;
    let record = &usable.key.record;
    let is_ours = record.usage == Usage::Token
        && usable.version.origin == Origin::Generated
        && !record.exportable
        && record.temporary.is_none();
    if !is_ours {
        return Err(Refusal::Unknown);
    }
    let claims = jws::verify(&token, &usable.material).map_err(|_| Refusal::Unknown)?;
    let expected = Expectation {
        now: now.timestamp(),
        issuer,
        extra_issuers: &[],
        allow_missing_iss: false,
        audience: Some(OWN_AUDIENCE),
        required: &[],
        allow_missing_exp: false,
    };
    claims::check(&claims, &expected).map_err(|error| match error {
        ClaimsError::Expired => Refusal::Expired,
        ClaimsError::Invalid(_) => Refusal::Unknown,
    })?;
    if is_revoked(tokens, snapshot, (&usable, credential), &claims, now) {
        return Err(Refusal::Revoked);
    }
    let named = claims.contains_key("aud");
    match subject(&claims) {
        Some(subject) if named => Ok(Identity::subject(issuer.to_owned(), subject.to_owned())),
        Some(_) | None => Err(Refusal::Unknown),
    }
}

/// The `sub` of a credential.
pub(super) fn subject(claims: &Map<String, Value>) -> Option<&str> {
    claims.get("sub").and_then(Value::as_str).filter(|subject| is_name(subject))
}

/// It can stand for somebody, in policies and on record: 1 to 255 bytes without a control character.
#[must_use]
pub fn is_name(text: &str) -> bool {
    (1..=NAME_MAX_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}
