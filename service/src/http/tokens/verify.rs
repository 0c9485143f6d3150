//! `POST /v1/tokens/verify`.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use claviger_actors::{
    audit::Subject,
    keyring::{
        Snapshot, Unusable, Usable,
        core::Use,
        internal,
        record::{KeyRecord, Origin, VersionRecord},
    },
};
use claviger_crypto::{
    TokenError,
    claims::{self, ClaimsError, Expectation},
    jwe,
    jws::{self, KidClaim},
    token::{self, ParsedToken},
};
use claviger_entity::{KeyName, Kid, Usage, VersionNumber};
use claviger_policy::Permission;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::facts::is_revoked;
use crate::http::{
    authority,
    body::{Direct, DirectJson},
    door::unsure,
    keys::note,
    problem::{Code, Problem},
    quota,
    state::{AppState, Caller},
};
use crate::metrics::Verification;

/// Versions of the default key that are tried for a token without `kid`.
const FALLBACK_TRIES: usize = 8;

/// A token to verify.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenVerifyRequest {
    token: String,
    /// The audience of whoever asks.
    #[serde(default)]
    audience: Option<String>,
    /// Claims that must be there.
    #[serde(default)]
    required_claims: Vec<String>,
    /// The key that must have made it.
    #[serde(default)]
    key: Option<KeyName>,
}

impl Direct for TokenVerifyRequest {}

/// The verdict.
#[derive(Serialize, utoipa::ToSchema)]
pub struct TokenVerifyAnswer {
    valid: bool,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
enum Outcome {
    Valid {
        #[schema(value_type = Object)]
        claims: Map<String, Value>,
        kid: Kid,
        key: KeyName,
        version: VersionNumber,
    },
    Invalid {
        /// `token_expired`, `token_revoked`, `token_malformed`, `signature_invalid`, `claims_invalid`, `key_not_found` or `key_not_usable`.
        code: &'static str,
        /// One sentence.
        detail: String,
    },
}

const TOKEN_REVOKED: &str = "token_revoked";

/// Why a token is not valid.
pub(super) struct Invalid(&'static str, String);

impl From<TokenError> for Invalid {
    fn from(error: TokenError) -> Self {
        let code = match error {
            TokenError::Malformed(_) => "token_malformed",
            TokenError::SignatureInvalid => "signature_invalid",
        };
        Self(code, error.to_string())
    }
}

impl From<ClaimsError> for Invalid {
    fn from(error: ClaimsError) -> Self {
        let code = match error {
            ClaimsError::Expired => "token_expired",
            ClaimsError::Invalid(_) => "claims_invalid",
        };
        Self(code, error.to_string())
    }
}

fn unknown() -> Invalid {
    Invalid("key_not_found", "the token's kid names no key here".to_owned())
}

/// Verifies a token of either format. The answer is always 200; what is wrong with the token is in it.
///
/// # Errors
/// `invalid_request`.
#[utoipa::path(post, path = "/v1/tokens/verify", tag = "tokens", request_body = TokenVerifyRequest, responses(
    (status = 200, description = "The verdict", body = TokenVerifyAnswer),
))]
pub async fn verify(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    DirectJson(given): DirectJson<TokenVerifyRequest>,
) -> Result<HttpResponse, Problem> {
    let mut subject = Subject { valid: Some(false), ..Subject::default() };
    // Whether the caller may verify is a question about the key that the token names; one that names none tells nothing.
    caller.decided();
    let mut denied = 0;
    let mut snapshot = state.ring.snapshot();
    let mut judged = judge(&state, &snapshot, &caller, &given, &mut denied);
    // Another node may have made the key, or taken it back into use, a moment ago. The ring is let go of before that is asked.
    if state.cluster.is_shared() && is_no(&judged) {
        drop(judged);
        drop(snapshot);
        // Rare, and large: not to be carried about with every request.
        if !Box::pin(state.cluster.refresh()).await {
            return Err(unsure());
        }
        (snapshot, denied) = (state.ring.snapshot(), 0);
        judged = judge(&state, &snapshot, &caller, &given, &mut denied);
    }
    subject.forbidden = (denied > 0).then_some(denied);
    let judged = match judged {
        Ok(judged) => judged,
        Err(problem) => {
            note(&request, subject);
            return Err(problem);
        }
    };
    state.metrics.verified(Verification::Token, 1);
    let verified = match judged {
        Ok((claims, usable)) => {
            let (name, version) = (usable.key.record.name.clone(), usable.version.version);
            if usable.key.record.temporary.is_some() {
                let consumed =
                    state.ring.consume(caller.context_of_part(), name.clone(), version, Use::Consume);
                Box::pin(consumed).await?;
            }
            let kid = usable.version.kid.clone();
            let whose = claims.get("sub").and_then(Value::as_str);
            subject = Subject {
                sub_hash: whose.and_then(|whose| snapshot.audit_hash(whose)),
                key: Some(name.as_str().to_owned()),
                version: Some(version.number()),
                kid: Some(kid.as_str().to_owned()),
                valid: Some(true),
                ..subject
            };
            TokenVerifyAnswer { valid: true, outcome: Outcome::Valid { claims, kid, key: name, version } }
        }
        Err(Invalid(code, detail)) => {
            state.metrics.not_valid(Verification::Token, code, 1);
            TokenVerifyAnswer { valid: false, outcome: Outcome::Invalid { code, detail } }
        }
    };
    note(&request, subject);
    Ok(HttpResponse::Ok().json(verified))
}

/// A *no* that a node which is behind may give by mistake.
fn is_no(verdict: &Verdict<'_>) -> bool {
    match verdict {
        // Neither is ever taken back.
        Ok(Err(Invalid(code, _))) => !matches!(*code, "token_expired" | TOKEN_REVOKED),
        Ok(Ok(_)) => false,
        Err(_) => true,
    }
}

/// The outer error is a fault of ours, the inner one the token's.
type Verdict<'a> = Result<Result<(Map<String, Value>, Usable<'a>), Invalid>, Problem>;

fn judge<'a>(
    state: &AppState,
    snapshot: &'a Snapshot,
    caller: &Caller,
    given: &TokenVerifyRequest,
    denied: &mut usize,
) -> Verdict<'a> {
    let parsed = match token::parse(&given.token) {
        Ok(parsed) => parsed,
        Err(error) => return Ok(Err(error.into())),
    };
    let sees = |key: &KeyRecord| state.authorizer.sees_key(snapshot, &caller.identity, key);
    let candidates = match candidates(state, snapshot, &parsed, &sees)? {
        Ok(candidates) => candidates,
        Err(invalid) => return Ok(Err(invalid)),
    };
    let (mut verdict, mut refused) = (Err(unknown()), None);
    for usable in candidates {
        let record = &usable.key.record;
        if given.key.as_ref().is_some_and(|key| *key != record.name) || !makes_tokens(record, usable.version)
        {
            continue;
        }
        match authority::on_key(state, snapshot, caller, Permission::TokenVerify, record) {
            Ok(()) => quota::on_key(state, record.id)?,
            // A key that the caller may not see is one that is not there; of those that go by one alias another may be theirs.
            Err(problem) => {
                *denied += 1;
                refused = refused.or((problem.code != Code::KeyNotFound).then_some(problem));
                continue;
            }
        }
        let opened = match &parsed {
            ParsedToken::Jws(token) => jws::verify(token, &usable.material),
            ParsedToken::Jwe(token) => jwe::decrypt(token, &usable.material),
        };
        match opened {
            Ok(claims) => {
                if let Err(error) = check(state, &usable, given, &claims) {
                    return Ok(Err(error.into()));
                }
                let of = (&usable, given.token.as_str());
                let is_revoked = is_revoked(&state.tokens, snapshot, of, &claims, state.clock.now());
                let revoked = || Invalid(TOKEN_REVOKED, "the token was revoked".to_owned());
                return Ok(if is_revoked { Err(revoked()) } else { Ok((claims, usable)) });
            }
            Err(error) => verdict = Err(error.into()),
        }
    }
    match refused {
        Some(problem) => Err(problem),
        None => Ok(verdict),
    }
}

/// Imported versions carry tokens from before the import, whatever their key is used for now.
pub(super) fn makes_tokens(record: &KeyRecord, version: &VersionRecord) -> bool {
    record.usage == Usage::Token || version.origin == Origin::Imported
}

fn check(
    state: &AppState,
    usable: &Usable<'_>,
    given: &TokenVerifyRequest,
    claims: &Map<String, Value>,
) -> Result<(), ClaimsError> {
    let rules = &usable.key.record.claims;
    let required: Vec<String> = rules.required.iter().chain(&given.required_claims).cloned().collect();
    claims::check(
        claims,
        &Expectation {
            now: state.clock.now().timestamp(),
            issuer: state.issuer(),
            extra_issuers: &rules.issuers,
            allow_missing_iss: usable.version.origin == Origin::Imported,
            audience: given.audience.as_deref(),
            required: &required,
            allow_missing_exp: rules.allow_missing_exp,
        },
    )
}

/// Versions that may have made the token: the one its `kid` names, those a replaced system knew under that id, or, for tokens without
/// any, those of the default key if it allows that.
pub(super) fn candidates<'a>(
    state: &AppState,
    snapshot: &'a Snapshot,
    parsed: &ParsedToken<'_>,
    sees: &dyn Fn(&KeyRecord) -> bool,
) -> Result<Result<Vec<Usable<'a>>, Invalid>, Problem> {
    match parsed.kid() {
        KidClaim::Foreign => Ok(Err(unknown())),
        KidClaim::Named(kid) => named(snapshot, kid, sees),
        KidClaim::Absent => {
            let default = match parsed {
                ParsedToken::Jws(_) => &state.signing_key,
                ParsedToken::Jwe(_) => &state.encryption_key,
            };
            let key = snapshot.key(default).ok().filter(|key| key.record.claims.kid_fallback);
            let missing = || Invalid("token_malformed", "the token has no kid".to_owned());
            Ok(key.map(|key| snapshot.consumers(key).take(FALLBACK_TRIES).collect()).ok_or_else(missing))
        }
    }
}

fn named<'a>(
    snapshot: &'a Snapshot,
    kid: &Kid,
    sees: &dyn Fn(&KeyRecord) -> bool,
) -> Result<Result<Vec<Usable<'a>>, Invalid>, Problem> {
    let found = match snapshot.consumer(kid) {
        Err(Unusable::UnknownKid) => {
            let hash = internal::alias_hash(snapshot, kid.as_str().as_bytes());
            let aliased = hash.map(|hash| snapshot.aliased(&hash)).unwrap_or_default();
            if aliased.is_empty() {
                return Ok(Err(unknown()));
            }
            aliased.iter().map(|kid| (kid, snapshot.consumer(kid))).collect::<Vec<_>>()
        }
        found => vec![(kid, found)],
    };
    let mut usable = Vec::new();
    let mut refusal = unknown();
    for (kid, found) in found {
        let is_seen = || snapshot.ring().by_kid(kid).is_some_and(|(key, _)| sees(&key.record));
        match found {
            Ok(found) => usable.push(found),
            Err(error @ (Unusable::State(_) | Unusable::BelowMinimum)) if is_seen() => {
                refusal = Invalid("key_not_usable", error.to_string());
            }
            Err(Unusable::State(_) | Unusable::BelowMinimum) => {}
            Err(Unusable::UnknownKid | Unusable::Ring(_) | Unusable::NoPrimary(_)) => {}
            Err(error @ Unusable::Material) if is_seen() => return Err(error.into()),
            Err(Unusable::Material) => {}
        }
    }
    Ok(if usable.is_empty() { Err(refusal) } else { Ok(usable) })
}
