//! Tokens of third parties at their providers: fetched for a code, revoked, verified.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use claviger_actors::stores::Place;
use claviger_entity::{Owner, ProviderName};
use claviger_policy::Target;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{auth_tokens::AuthTokenView, note_place, place, shown};
use crate::{
    http::{
        body::StrictJson,
        problem::{Code, Problem},
        state::{AppState, Caller},
    },
    providers::{CodeGrant, Judged},
};

const EXCHANGE: &str = "/v1/auth-tokens/{user}/{provider}/exchange";
const LOGOUT: &str = "/v1/auth-tokens/{user}/{provider}/logout";
const VERIFY: &str = "/v1/auth-tokens/{user}/{provider}/verify";
/// Longest code, and longest URL.
const CODE_MAX: usize = 8_192;
const URI_MAX: usize = 2_048;
/// Longest token that is verified.
const TOKEN_MAX: usize = 65_536;

fn at(request: &HttpRequest, pattern: &str) -> Result<Place, Problem> {
    place::of_path(Target::AuthToken, pattern, request.uri().path())
}

/// What the user has brought from the provider.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExchangeRequest {
    /// The authorization code.
    #[schema(value_type = String, min_length = 1, max_length = 8192, format = Password)]
    code: Zeroizing<String>,
    /// The URL that the provider has sent the user to, to the letter.
    #[schema(min_length = 1, max_length = 2048)]
    redirect_uri: String,
    /// The verifier of the challenge that the code was asked for with (RFC 7636).
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 43, max_length = 128, format = Password)]
    code_verifier: Option<Zeroizing<String>>,
}

impl ExchangeRequest {
    fn grant(self) -> Result<CodeGrant, Problem> {
        let Self { code, redirect_uri, code_verifier } = self;
        let visible = |text: &str, most: usize| {
            (1..=most).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        };
        if !visible(&code, CODE_MAX) || !visible(&redirect_uri, URI_MAX) {
            return Err(Problem::invalid(
                "code is 1 to 8192 and redirect_uri 1 to 2048 visible ASCII characters",
            ));
        }
        let is_verifier = |text: &Zeroizing<String>| {
            (43..=128).contains(&text.len())
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
        };
        if !code_verifier.as_ref().is_none_or(is_verifier) {
            return Err(Problem::invalid("code_verifier is 43 to 128 of A-Z a-z 0-9 - . _ ~"));
        }
        Ok(CodeGrant { code, redirect_uri, code_verifier })
    }
}

/// Fetches the tokens of a user from a provider for an authorization code (RFC 6749 §4.1.3), and stores them in the place of what is there.
///
/// # Errors
/// `reauth_required` when the provider refuses the code; `refresh_in_progress` when another request presents it; `precondition_failed` when a retry
/// finds tokens that were changed since; `provider_unavailable`; `unsupported_operation` when the provider is not configured.
#[utoipa::path(post, path = "/v1/auth-tokens/{user}/{provider}/exchange", tag = "stores", params(("user" = Owner, Path), ("provider" = ProviderName, Path)), request_body = ExchangeRequest, responses(
    (status = 200, description = "The tokens; there were some before", body = AuthTokenView,
        headers(("ETag" = String, description = "For If-Match"))),
    (status = 201, description = "The tokens, which are new", body = AuthTokenView,
        headers(("ETag" = String, description = "For If-Match"))),
))]
pub async fn exchange(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    StrictJson(given): StrictJson<ExchangeRequest>,
) -> Result<HttpResponse, Problem> {
    let place = at(&request, EXCHANGE)?;
    let grant = given.grant()?;
    let asker = caller.context();
    let (done, tokens) = state.providers.exchange(asker, place.clone(), grant).await?;
    note_place(&request, &state, &place);
    let revision = done.revision.ok_or_else(|| Problem::new(Code::NotFound, "there are no such tokens"))?;
    let response = if done.is_new { HttpResponse::Created() } else { HttpResponse::Ok() };
    Ok(shown(response, revision, &AuthTokenView::written(tokens, &done)?))
}

/// How to log out.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogoutRequest {
    /// Delete the tokens even if the provider does not revoke them: nobody can ask for that afterwards.
    #[serde(default)]
    force: bool,
}

/// What became of the tokens, which are deleted.
#[derive(Serialize, utoipa::ToSchema)]
pub struct LogoutAnswer {
    /// The provider has revoked them; `false` when it can't be asked to, or did not do so under `force`.
    revoked: bool,
}

/// Has the tokens of a user revoked at their provider (RFC 7009), and deletes them. Tokens that the provider does not revoke are kept, so that
/// it can be asked again; `force`, or DELETE, deletes them without it.
///
/// # Errors
/// `not_found`, `provider_unavailable`.
#[utoipa::path(post, path = "/v1/auth-tokens/{user}/{provider}/logout", tag = "stores", params(("user" = Owner, Path), ("provider" = ProviderName, Path)), request_body = LogoutRequest, responses(
    (status = 200, description = "The tokens are deleted", body = LogoutAnswer),
))]
pub async fn logout(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    StrictJson(given): StrictJson<LogoutRequest>,
) -> Result<HttpResponse, Problem> {
    let place = at(&request, LOGOUT)?;
    let revoked = state.providers.logout(caller.context_of_part(), place.clone(), given.force).await?;
    note_place(&request, &state, &place);
    Ok(HttpResponse::Ok().json(LogoutAnswer { revoked }))
}

/// A token to look at.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderVerifyRequest {
    /// The token.
    #[schema(value_type = String, min_length = 1, max_length = 65536, format = Password)]
    token: Zeroizing<String>,
    /// What its `aud` must contain; absent = as configured, or else this deployment's client at the provider.
    #[serde(default)]
    #[schema(max_length = 1024)]
    audience: Option<String>,
}

/// What came of it.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ProviderVerifyAnswer {
    /// It is a token of the provider, and good now.
    valid: bool,
    /// What it says, if it is valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<Map<String, Value>>,
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    /// The same, as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'static str>,
}

/// Verifies a token of a provider: by asking it (RFC 7662) where that is configured, by its keys otherwise. The token need not be one that is stored.
///
/// # Errors
/// `provider_unavailable`; `unsupported_operation` when the provider is not configured, or only to give tokens.
#[utoipa::path(post, path = "/v1/auth-tokens/{user}/{provider}/verify", tag = "stores", params(("user" = Owner, Path), ("provider" = ProviderName, Path)), request_body = ProviderVerifyRequest, responses(
    (status = 200, description = "Whether it is valid", body = ProviderVerifyAnswer),
))]
pub async fn verify(
    request: HttpRequest,
    state: Data<AppState>,
    StrictJson(given): StrictJson<ProviderVerifyRequest>,
) -> Result<HttpResponse, Problem> {
    let place = at(&request, VERIFY)?;
    if given.token.is_empty() || given.token.len() > TOKEN_MAX {
        return Err(Problem::invalid("token has 1 to 65536 bytes"));
    }
    let judged = state.providers.verify(&place, &given.token, given.audience.as_deref()).await?;
    let answer = match judged {
        Judged::Unsupported => {
            let detail = "no provider of this name is configured with introspection_endpoint or jwks_uri";
            return Err(Problem::new(Code::UnsupportedOperation, detail));
        }
        Judged::Valid(claims) => {
            ProviderVerifyAnswer { valid: true, claims: Some(claims), code: None, detail: None }
        }
        Judged::Not(why) => ProviderVerifyAnswer {
            valid: false,
            claims: None,
            code: Some(why.code),
            detail: Some(why.detail),
        },
    };
    note_place(&request, &state, &place);
    Ok(HttpResponse::Ok().json(answer))
}
