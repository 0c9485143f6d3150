//! One provider, and what it is asked. Nothing here is tried twice: a refresh token may be good for one use.

use std::{io, time::Duration};

use claviger_config::{AuthStyle, TokenProvider};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use super::{
    answer::{self, Fault, Granted},
    figures::{Call, Counters, ProviderFigures},
};
use crate::{
    auth::ProviderKeys,
    outgoing::{Form, Outgoing, OutgoingError, OutgoingUrl, Posted},
};

/// Longest time for a provider to answer.
const CALL: Duration = Duration::from_secs(15);
/// Questions to one provider at a time.
const CALLS_MAX: usize = 64;

/// Why a provider has not done as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There was no answer that can be used.
    #[error("{0}")]
    Outgoing(#[from] OutgoingError),
    /// It says no, or makes no sense.
    #[error("{0}")]
    Fault(#[from] Fault),
    /// Its keys can't be asked for.
    #[error("it can't be asked for its keys")]
    Keys,
    /// It is asked too much at once.
    #[error("it is asked 64 questions at once")]
    Busy,
}

impl CallError {
    /// Every outcome that is counted, the first of them success.
    pub(super) const OUTCOMES: [&'static str; 11] = [
        "ok",
        "refused",
        "client",
        "request",
        "status",
        "malformed",
        "unreachable",
        "timed_out",
        "redirected",
        "too_large",
        "busy",
    ];

    /// Its place among them.
    pub(super) const fn outcome(self) -> usize {
        match self {
            Self::Fault(Fault::Refused) => 1,
            Self::Fault(Fault::Client) => 2,
            Self::Fault(Fault::Request) => 3,
            Self::Fault(Fault::Status(_)) | Self::Outgoing(OutgoingError::Status(_)) => 4,
            Self::Fault(Fault::Malformed) | Self::Outgoing(OutgoingError::Malformed) => 5,
            Self::Outgoing(OutgoingError::Unreachable) | Self::Keys => 6,
            Self::Outgoing(OutgoingError::TimedOut) => 7,
            Self::Outgoing(OutgoingError::Redirected) => 8,
            Self::Outgoing(OutgoingError::TooLarge) => 9,
            Self::Busy => 10,
        }
    }

    /// The provider works, and does not want these tokens.
    pub(crate) const fn is_refusal(self) -> bool {
        matches!(self, Self::Fault(Fault::Refused))
    }
}

/// A provider.
pub(crate) struct Provider {
    pub(super) settings: TokenProvider,
    pub(super) keys: Option<ProviderKeys>,
    pub(super) counters: Counters,
    token: OutgoingUrl,
    revocation: Option<OutgoingUrl>,
    introspection: Option<OutgoingUrl>,
    outgoing: Outgoing,
    calls: Semaphore,
}

impl Provider {
    /// As configured; nobody is asked yet.
    ///
    /// # Errors
    /// A URL that may not be asked, named with its setting.
    pub(super) fn new(settings: &TokenProvider, outgoing: &Outgoing) -> io::Result<Self> {
        let parse = |member: &str, text: &str| {
            let named = |rule| io::Error::other(format!("{}.{member} {rule}", settings.name));
            OutgoingUrl::parse(text).map_err(named)
        };
        let optional =
            |member: &str, text: &Option<String>| text.as_deref().map(|text| parse(member, text)).transpose();
        let keys = optional("jwks_uri", &settings.jwks_uri)?;
        Ok(Self {
            keys: keys.map(|url| ProviderKeys::new(settings.name.as_str(), url, outgoing.clone())),
            counters: Counters::default(),
            token: parse("token_endpoint", &settings.token_endpoint)?,
            revocation: optional("revocation_endpoint", &settings.revocation_endpoint)?,
            introspection: optional("introspection_endpoint", &settings.introspection_endpoint)?,
            outgoing: outgoing.clone(),
            calls: Semaphore::new(CALLS_MAX),
            settings: settings.clone(),
        })
    }

    /// Tokens can be revoked there.
    pub(super) const fn revokes(&self) -> bool {
        self.revocation.is_some()
    }

    /// It says what a token is.
    pub(super) const fn introspects(&self) -> bool {
        self.introspection.is_some()
    }

    pub(super) fn figures(&self) -> ProviderFigures<'_> {
        self.counters.figures(self.settings.name.as_str())
    }

    /// New tokens for a refresh token.
    pub(super) async fn refresh(&self, refresh_token: &str) -> Result<Granted, CallError> {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
        let answered = self.post(&self.token, &fields).await.and_then(granted);
        self.counted(Call::Refresh, answered)
    }

    /// Tokens for an authorization code (RFC 6749 §4.1.3, RFC 7636 §4.5).
    pub(super) async fn exchange(
        &self,
        code: &str,
        redirect_uri: &str,
        code_verifier: Option<&str>,
    ) -> Result<Granted, CallError> {
        let mut fields =
            vec![("grant_type", "authorization_code"), ("code", code), ("redirect_uri", redirect_uri)];
        fields.extend(code_verifier.map(|verifier| ("code_verifier", verifier)));
        let answered = self.post(&self.token, &fields).await.and_then(granted);
        self.counted(Call::Exchange, answered)
    }

    /// Has a token revoked; `false` when that can't be asked of it.
    pub(super) async fn revoke(&self, token: &str, hint: &str) -> Result<bool, CallError> {
        let Some(url) = &self.revocation else { return Ok(false) };
        let fields = [("token", token), ("token_type_hint", hint)];
        let answered = self.post(url, &fields).await.and_then(|posted| {
            Ok(answer::revoked(posted.status, posted.content_type.as_deref(), &posted.body)?)
        });
        self.counted(Call::Revoke, answered).map(|()| true)
    }

    /// Asks what a token is: whether it is active, and what else it says. `None` when that can't be asked of it.
    pub(super) async fn introspect(
        &self,
        token: &str,
    ) -> Result<Option<(bool, Map<String, Value>)>, CallError> {
        let Some(url) = &self.introspection else { return Ok(None) };
        let answered = self.post(url, &[("token", token)]).await;
        let answered = answered.and_then(|posted| Ok(answer::introspected(posted.status, &posted.body)?));
        self.counted(Call::Introspect, answered).map(Some)
    }

    async fn post(&self, url: &OutgoingUrl, fields: &[(&str, &str)]) -> Result<Posted, CallError> {
        let _one = self.calls.try_acquire().map_err(|_| CallError::Busy)?;
        let TokenProvider { client_id, client_secret, auth_style, .. } = &self.settings;
        let mut fields = fields.to_vec();
        let basic = match auth_style {
            AuthStyle::Basic => Some((client_id.as_str(), client_secret.as_str())),
            AuthStyle::Post => {
                fields.extend([("client_id", client_id.as_str()), ("client_secret", client_secret.as_str())]);
                None
            }
        };
        Ok(self.outgoing.post(url, &Form { fields: &fields, basic, within: CALL }).await?)
    }

    fn counted<T>(&self, call: Call, answered: Result<T, CallError>) -> Result<T, CallError> {
        let error = answered.as_ref().err().copied();
        let is_news = self.counters.count(call, error);
        let provider = self.settings.name.as_str();
        match error.filter(|error| !error.is_refusal()) {
            Some(error) if is_news => {
                tracing::warn!(provider, ?call, %error, "a provider of tokens does not answer as it should");
            }
            None if is_news => tracing::info!(provider, "a provider of tokens answers again"),
            Some(_) | None => {}
        }
        answered
    }
}

fn granted(posted: Posted) -> Result<Granted, CallError> {
    Ok(answer::granted(posted.status, posted.content_type.as_deref(), &posted.body)?)
}
