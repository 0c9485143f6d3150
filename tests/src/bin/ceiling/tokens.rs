//! Tokens of the HS256 key: issued, and verified with their claims.

use std::time::SystemTime;

use actix_web::{
    HttpResponse,
    web::{Bytes, Data},
};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use claviger_crypto::{
    claims::{self, Expectation},
    jws::{self, KidClaim},
    token::{self, ParsedToken},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{answer, keys::Keys};

const ISSUER: &str = "http://127.0.0.1:7420";
const LIFETIME: TimeDelta = TimeDelta::hours(1);

#[derive(Deserialize)]
struct Issue {
    #[serde(default)]
    claims: Map<String, Value>,
    audience: Option<String>,
    subject: Option<String>,
}

#[derive(Serialize)]
struct Issued<'a> {
    token: String,
    kid: &'a str,
    jti: Uuid,
    issued_at: String,
    expires_at: String,
}

pub(crate) async fn issue(keys: Data<Keys>, body: Bytes) -> HttpResponse {
    answer(&body, |given: Issue| {
        let (issued_at, jti) = (now(), Uuid::now_v7());
        let expires_at = issued_at + LIFETIME;
        let mut claims = given.claims;
        claims.insert("sub".to_owned(), given.subject.into());
        claims.insert("aud".to_owned(), given.audience.into());
        claims.insert("iss".to_owned(), ISSUER.into());
        claims.insert("iat".to_owned(), issued_at.timestamp().into());
        claims.insert("exp".to_owned(), expires_at.timestamp().into());
        claims.insert("jti".to_owned(), jti.to_string().into());
        let token = jws::issue(&keys.mac.prepared, &keys.mac.kid, &claims).ok()?;
        let text = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let (issued_at, expires_at) = (text(issued_at), text(expires_at));
        Some(Issued { token, kid: keys.mac.kid.as_str(), jti, issued_at, expires_at })
    })
}

#[derive(Deserialize)]
struct Verify {
    token: String,
    audience: Option<String>,
}

#[derive(Serialize)]
struct Verified<'a> {
    valid: bool,
    claims: Map<String, Value>,
    kid: &'a str,
    key: &'a str,
    version: u32,
}

pub(crate) async fn verify(keys: Data<Keys>, body: Bytes) -> HttpResponse {
    answer(&body, |given: Verify| {
        let ParsedToken::Jws(token) = token::parse(&given.token).ok()? else { return None };
        if token.kid != KidClaim::Named(keys.mac.kid.clone()) {
            return None;
        }
        let claims = jws::verify(&token, &keys.mac.prepared).ok()?;
        let expected = Expectation {
            now: now().timestamp(),
            issuer: ISSUER,
            extra_issuers: &[],
            allow_missing_iss: false,
            audience: given.audience.as_deref(),
            required: &[],
            allow_missing_exp: false,
        };
        claims::check(&claims, &expected).ok()?;
        Some(Verified { valid: true, claims, kid: keys.mac.kid.as_str(), key: keys.mac.name, version: 1 })
    })
}

#[expect(clippy::disallowed_methods, reason = "this command has no clock to be handed")]
fn now() -> DateTime<Utc> {
    SystemTime::now().into()
}
