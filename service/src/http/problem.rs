//! Errors as callers see them: RFC 9457 problem details out of one table.

use std::{collections::BTreeSet, fmt, num::NonZeroU64, time::Duration};

use actix_web::{
    HttpResponse, HttpResponseBuilder, ResponseError,
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::openapi::{Object, ObjectBuilder, Type};

use super::quota::Rates;

/// One row of the table.
macro_rules! codes {
    ($($variant:ident = $status:literal $code:literal $title:literal,)+) => {
        /// What went wrong, stable for programs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "each is described by its title")]
        pub enum Code { $($variant,)+ }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// HTTP status.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)+ }
            }

            /// The code as text.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// One line for people.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }
        }
    };
}

codes! {
    InvalidRequest = 400 "invalid_request" "The request is not valid",
    UnsupportedOperation = 400 "unsupported_operation" "The key does not know this operation",
    DecryptionFailed = 400 "decryption_failed" "The ciphertext could not be decrypted",
    Unauthorized = 401 "unauthorized" "A valid credential is required",
    TokenExpired = 401 "token_expired" "The token has expired",
    TokenInvalid = 401 "token_invalid" "The refresh token is not valid",
    TokenRevoked = 401 "token_revoked" "The token was revoked",
    TokenReused = 401 "token_reused" "The refresh token was used before",
    Forbidden = 403 "forbidden" "The credential does not permit this",
    KeyNotFound = 404 "key_not_found" "There is no such key",
    VersionNotFound = 404 "version_not_found" "The key has no such version",
    NotFound = 404 "not_found" "There is nothing here",
    MethodNotAllowed = 405 "invalid_request" "The path does not know this method",
    KeyExists = 409 "key_exists" "The key exists",
    KeyStateConflict = 409 "key_state_conflict" "The key's state does not allow this",
    StandbyTooYoung = 409 "standby_too_young" "The standby has not been published long enough",
    ReauthRequired = 409 "reauth_required" "The user must log in at the provider anew",
    PreconditionFailed = 412 "precondition_failed" "The key has changed",
    StaleEpoch = 412 "stale_epoch" "This node is behind the requested epoch",
    PayloadTooLarge = 413 "payload_too_large" "The request body is too large",
    RateLimited = 429 "rate_limited" "There were too many requests or failed attempts",
    Overloaded = 503 "overloaded" "The node is busy",
    StaleNode = 503 "stale_node" "This node may not know what has been revoked",
    IssuerUnavailable = 503 "issuer_unavailable" "The issuer of the token can't be asked for its keys",
    RefreshInProgress = 503 "refresh_in_progress" "The tokens are being refreshed",
    ProviderUnavailable = 503 "provider_unavailable" "The provider of the tokens does not do as asked",
    HeldBack = 503 "quarantined" "The deployment was restored and is not released yet",
    Sealed = 503 "sealed" "This node lacks the master key in use",
    AuditUnavailable = 503 "audit_unavailable" "The audit log can't be written",
    Internal = 500 "internal" "The service failed",
}

/// An error on its way to the caller. Its detail says what is wrong and what to do, and holds nothing of what was sent.
#[derive(Debug, Clone)]
pub struct Problem {
    /// What went wrong.
    pub code: Code,
    detail: String,
    extra: Map<String, Value>,
    recorded: Option<Code>,
    retry_after: Option<NonZeroU64>,
    rates: Option<Box<Rates>>,
}

/// The JSON body.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    /// `urn:claviger:problem:<code>`.
    #[serde(rename = "type")]
    kind: String,
    /// One line.
    title: &'a str,
    /// HTTP status.
    status: u16,
    /// What is wrong and what to do.
    detail: &'a str,
    /// Stable code.
    #[schema(schema_with = codes)]
    code: &'a str,
    /// `X-Request-Id` of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(flatten)]
    #[schema(ignore)]
    extra: &'a Map<String, Value>,
}

fn codes() -> Object {
    let codes: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(codes)).build()
}

impl Problem {
    /// A problem with its detail.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            extra: Map::new(),
            recorded: None,
            retry_after: None,
            rates: None,
        }
    }

    /// The request breaks a rule.
    #[must_use]
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Code::InvalidRequest, detail)
    }

    /// Is recorded under another code than the caller reads.
    #[must_use]
    pub const fn recorded_as(mut self, code: Code) -> Self {
        self.recorded = Some(code);
        self
    }

    /// Trying again is of no use before this time, in whole seconds.
    #[must_use]
    pub fn retry_after(mut self, time: Duration) -> Self {
        let whole = time.as_secs() + u64::from(time.subsec_nanos() > 0);
        self.retry_after = NonZeroU64::new(whole.max(1));
        self
    }

    /// Says what is left of quotas.
    #[must_use]
    pub fn with_rates(mut self, rates: Option<Rates>) -> Self {
        self.rates = rates.map(Box::new);
        self
    }

    /// The caller had no right, whatever they are told.
    #[must_use]
    pub fn is_denial(&self) -> bool {
        self.recorded.unwrap_or(self.code) == Code::Forbidden
    }

    /// Adds a member.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(member.to_owned(), value.into());
        self
    }

    /// The body, for answers and batch items alike.
    #[must_use]
    pub fn body<'a>(&'a self, request_id: Option<&'a str>) -> ProblemBody<'a> {
        ProblemBody {
            kind: format!("urn:claviger:problem:{}", self.code.as_str()),
            title: self.code.title(),
            status: self.code.status(),
            detail: &self.detail,
            code: self.code.as_str(),
            request_id,
            extra: &self.extra,
        }
    }

    /// The answer.
    #[must_use]
    pub fn response(&self, request_id: Option<&str>) -> HttpResponse {
        let mut response = HttpResponseBuilder::new(self.status_code());
        let retry_after = self.retry_after.or((self.code.status() == 503).then_some(NonZeroU64::MIN));
        if let Some(seconds) = retry_after {
            response.insert_header((header::RETRY_AFTER, HeaderValue::from(seconds.get())));
        }
        if self.code.status() == 401 {
            response.insert_header((
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"claviger\""),
            ));
        }
        let body = serde_json::to_string(&self.body(request_id)).unwrap_or_default();
        let mut response =
            response.insert_header((header::CONTENT_TYPE, "application/problem+json")).body(body);
        if let Some(rates) = &self.rates {
            rates.write(response.headers_mut());
        }
        // For the audit record, which says what the caller is not told.
        response.extensions_mut().insert(self.recorded.unwrap_or(self.code));
        response
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        self.response(None)
    }
}
