//! Tokens for an authorization code, fetched and stored in one errand: whoever has asked may be gone by then, and the code is spent.

use std::sync::Arc;

use claviger_actors::{
    keyring::ChangeContext,
    stores::{AuthTokens, Change, Condition, Done, Place, Refusal, StoresFailure, Wanted, Write},
};
use zeroize::Zeroizing;

use super::{CallError, Providers, due};

/// What a user has brought from a provider. No `Debug`: it holds secrets.
pub struct CodeGrant {
    /// The code.
    pub code: Zeroizing<String>,
    /// Where the provider has sent them.
    pub redirect_uri: String,
    /// What the code was asked for with (RFC 7636).
    pub code_verifier: Option<Zeroizing<String>>,
}

/// Why there are no tokens.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeFailure {
    /// Nobody has said where to ask.
    #[error("no provider of this name is configured; see providers in docs/configuration.md")]
    Unknown,
    /// The provider gave none.
    #[error("{0}")]
    Provider(CallError),
    /// The caller lost the right meanwhile.
    #[error("policies do not permit this any more")]
    NotPermitted,
    /// The service failed.
    #[error("the service failed; its log says why")]
    Lost,
    /// They could not be stored.
    #[error(transparent)]
    Stores(#[from] StoresFailure),
}

impl Providers {
    /// Fetches tokens for a code, and stores them in the place of what is there.
    ///
    /// # Errors
    /// See [`ExchangeFailure`]. The code may be spent.
    pub async fn exchange(
        self: &Arc<Self>,
        asker: ChangeContext,
        place: Place,
        grant: CodeGrant,
    ) -> Result<(Done, AuthTokens), ExchangeFailure> {
        let work = |this: Arc<Self>| async move { this.fetch(&asker, place, &grant).await };
        self.errand(work).await.unwrap_or(Err(ExchangeFailure::Lost))
    }

    async fn fetch(
        &self,
        asker: &ChangeContext,
        place: Place,
        grant: &CodeGrant,
    ) -> Result<(Done, AuthTokens), ExchangeFailure> {
        let provider = Arc::clone(self.of(&place).ok_or(ExchangeFailure::Unknown)?);
        let now = self.clock.now();
        let verifier = grant.code_verifier.as_ref().map(|verifier| verifier.as_str());
        let granted = provider.exchange(&grant.code, &grant.redirect_uri, verifier).await;
        let tokens = due::renewed(None, &granted.map_err(ExchangeFailure::Provider)?, now);
        let write = Write::Put(tokens.pair.to_bytes(), tokens.about());
        let wanted = Wanted {
            operation: "auth_token.exchange",
            is_batch: false,
            context: asker,
            still_may: None,
            opened_with: &[],
            lease: None,
        };
        let change = Change { place, condition: Condition::None, write };
        match self.stores.change_one(wanted, change).await? {
            Some(Ok(done)) => Ok((done, tokens)),
            Some(Err(Refusal::NotPermitted)) => Err(ExchangeFailure::NotPermitted),
            Some(Err(Refusal::Precondition | Refusal::Missing)) | None => Err(ExchangeFailure::Lost),
        }
    }
}
