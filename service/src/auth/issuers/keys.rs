//! Keys of a provider of tokens, kept as those of an issuer are; its tokens are no credentials here.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use claviger_config::TrustedIssuer;
use claviger_crypto::foreign::ForeignToken;
use serde_json::{Map, Value};
use tokio::runtime::Handle;

use super::{Learned, LookUps, Source, Trusted, keep};
use crate::outgoing::{Outgoing, OutgoingUrl};

/// How long keys are used while they can't be asked for.
const MAX_STALE: Duration = Duration::from_secs(86_400);
/// Shortest time between two look-ups.
const COOLDOWN: Duration = Duration::from_secs(10);

/// Why a token says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFailure {
    /// It is no token.
    Malformed,
    /// The provider has no such key.
    UnknownKey,
    /// It does not fit its key.
    Signature,
    /// The provider can't be asked for its keys.
    Away,
}

/// Keys of a provider.
pub struct ProviderKeys {
    trusted: Arc<Trusted>,
    outgoing: Outgoing,
}

impl ProviderKeys {
    /// Keys at a place; nobody is asked yet.
    #[must_use]
    pub fn new(name: &str, url: OutgoingUrl, outgoing: Outgoing) -> Self {
        let settings = TrustedIssuer {
            name: name.to_owned(),
            issuer: String::new(),
            audience: String::new(),
            jwks_uri: None,
            token_file: None,
            roles: Vec::new(),
            max_stale: MAX_STALE,
            cooldown: COOLDOWN,
        };
        Self { trusted: Arc::new(Trusted::of(settings, Source::Direct(url))), outgoing }
    }

    /// Keeps them from now on.
    pub fn keep(&self, home: &Handle) {
        home.spawn(keep(Arc::clone(&self.trusted), self.outgoing.clone()));
    }

    /// The claims of a token that fits one of the keys; whether they are good is another question.
    ///
    /// # Errors
    /// See [`KeyFailure`].
    pub async fn claims(&self, token: &str) -> Result<Map<String, Value>, KeyFailure> {
        let parse = || ForeignToken::parse(token).map_err(|_| KeyFailure::Malformed);
        let kid = parse()?.kid().to_owned();
        if self.trusted.knows(&kid).is_none() {
            match self.trusted.learn(&kid).await {
                Learned::Away => return Err(KeyFailure::Away),
                Learned::Nothing | Learned::Again => {}
            }
        }
        let set = self.trusted.usable().ok_or(KeyFailure::Away)?;
        let key = set.keys.get(&kid).ok_or(KeyFailure::UnknownKey)?;
        parse()?.verify(key).map_err(|_| KeyFailure::Signature)
    }
}

impl Trusted {
    /// With nothing known yet.
    pub(super) fn of(settings: TrustedIssuer, source: Source) -> Self {
        Self {
            source,
            keys: ArcSwapOption::empty(),
            lookups: std::sync::Mutex::new(LookUps::new(settings.cooldown, settings.max_stale)),
            wanted: tokio::sync::Notify::new(),
            ended: tokio::sync::watch::Sender::new(0),
            waiting: tokio::sync::Semaphore::new(super::WAITING_MAX),
            outcomes: Default::default(),
            spared: std::sync::atomic::AtomicU64::new(0),
            settings,
        }
    }
}
