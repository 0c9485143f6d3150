//! The keys of an issuer, by its discovery document (OpenID Connect Discovery 1.0) or from where the configuration says.

use std::{collections::HashMap, path::Path, time::Duration};

use claviger_config::TrustedIssuer;
use claviger_crypto::{
    foreign::{self, KeySetError},
    public::PublicKey,
};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::outgoing::{Answer, Outgoing, OutgoingError, OutgoingUrl};

/// Longest token of our own that is sent along.
const TOKEN_MAX_BYTES: usize = 64 * 1_024;

/// Where keys are found.
#[derive(Debug)]
pub(super) enum Source {
    /// Named by the document of the issuer at this place.
    Discovery(OutgoingUrl),
    /// Here.
    Direct(OutgoingUrl),
}

impl Source {
    /// As configured.
    ///
    /// # Errors
    /// The setting, and the rule that its URL breaks.
    pub(super) fn of(settings: &TrustedIssuer) -> Result<Self, (&'static str, &'static str)> {
        if let Some(uri) = &settings.jwks_uri {
            return OutgoingUrl::parse(uri).map(Self::Direct).map_err(|rule| ("jwks_uri", rule));
        }
        let base = settings.issuer.trim_end_matches('/');
        let document = format!("{base}/.well-known/openid-configuration");
        OutgoingUrl::parse(&document).map(Self::Discovery).map_err(|rule| ("issuer", rule))
    }

    /// Spoken to in clear, on this machine.
    pub(super) fn is_plain(&self) -> bool {
        match self {
            Self::Discovery(url) | Self::Direct(url) => url.is_plain(),
        }
    }
}

/// Why there are no keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FetchError {
    /// There was no answer that can be used.
    #[error("{0}")]
    Outgoing(#[from] OutgoingError),
    /// The document is somebody else's.
    #[error("its discovery document names another issuer, which must be equal to the letter")]
    OtherIssuer,
    /// The document does not say where keys are.
    #[error(
        "its discovery document names no jwks_uri that may be asked (https, or as the issuer itself on loopback)"
    )]
    NoJwksUri,
    /// The keys are no set.
    #[error("its key set is refused: {0}")]
    KeySet(#[from] KeySetError),
    /// Our own token for it can't be read.
    #[error("token_file can't be read, or holds no token")]
    TokenFile,
}

impl FetchError {
    /// Every outcome that is counted, the first of them success.
    pub(super) const OUTCOMES: [&'static str; 11] = [
        "ok",
        "unreachable",
        "timed_out",
        "redirected",
        "status",
        "too_large",
        "malformed",
        "other_issuer",
        "no_jwks_uri",
        "key_set",
        "token_file",
    ];

    /// Its place among them.
    pub(super) const fn outcome(self) -> usize {
        match self {
            Self::Outgoing(OutgoingError::Unreachable) => 1,
            Self::Outgoing(OutgoingError::TimedOut) => 2,
            Self::Outgoing(OutgoingError::Redirected) => 3,
            Self::Outgoing(OutgoingError::Status(_)) => 4,
            Self::Outgoing(OutgoingError::TooLarge) => 5,
            Self::Outgoing(OutgoingError::Malformed) => 6,
            Self::OtherIssuer => 7,
            Self::NoJwksUri => 8,
            Self::KeySet(_) => 9,
            Self::TokenFile => 10,
        }
    }
}

/// Keys by `kid`, and how long the issuer says that they hold.
pub(super) type Fetched = (HashMap<String, PublicKey>, Option<Duration>);

/// Asks for the keys.
///
/// # Errors
/// See [`FetchError`].
pub(super) async fn fetch(
    outgoing: &Outgoing,
    settings: &TrustedIssuer,
    source: &Source,
) -> Result<Fetched, FetchError> {
    let Answer { body, max_age } = match source {
        Source::Discovery(document) => {
            let found = outgoing.get(document, None).await?.body;
            if found.get("issuer").and_then(Value::as_str) != Some(&settings.issuer) {
                return Err(FetchError::OtherIssuer);
            }
            let uri =
                found.get("jwks_uri").and_then(Value::as_str).and_then(|uri| OutgoingUrl::parse(uri).ok());
            // An issuer elsewhere sends nobody to what listens on this machine.
            let uri =
                uri.filter(|uri| document.is_plain() || !uri.is_plain()).ok_or(FetchError::NoJwksUri)?;
            outgoing.get(&uri, None).await?
        }
        Source::Direct(uri) => {
            let token = match &settings.token_file {
                Some(path) => Some(token(path).await.ok_or(FetchError::TokenFile)?),
                None => None,
            };
            outgoing.get(uri, token.as_ref().map(|token| token.as_str())).await?
        }
    };
    let keys = foreign::key_set(&body)?.into_iter().map(|key| (key.kid, key.public));
    Ok((keys.collect(), max_age))
}

/// Read each time: whoever keeps the file writes a new token into it before the old one ends.
async fn token(path: &Path) -> Option<Zeroizing<String>> {
    let text = Zeroizing::new(tokio::fs::read_to_string(path).await.ok()?);
    let token = text.trim();
    let fits =
        (1..=TOKEN_MAX_BYTES).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| Zeroizing::new(token.to_owned()))
}
