//! Tokens for an authorization code, fetched and stored in one errand: whoever has asked may be gone by then, and the code is spent.
//!
//! A code that is presented twice ends what was given for it (RFC 6749 §4.1.2). So one request at a time has the lease of a code, what came of
//! it is kept in the transaction that stores the tokens, and a retry asks for that first.

use std::{sync::Arc, time::Duration};

use claviger_actors::{
    clock::uptime,
    keyring::ChangeContext,
    stores::{
        AuthTokens, Change, Claim, Condition, Done, Lease, Opened, Outcome, Place, Refusal, StoresFailure,
        Wanted, Write,
    },
};
use zeroize::Zeroizing;

use super::{
    CallError, Providers,
    answer::Granted,
    call::Provider,
    due,
    keep::{GRACE, Keeping, discard, is_stored},
};

/// How long a request waits for another one with the same code.
const WAIT: Duration = Duration::from_secs(5);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(150);

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
    /// Another request is at it.
    #[error("the code is being exchanged; try again with the same Idempotency-Key")]
    InProgress,
    /// It was exchanged, and the tokens are gone.
    #[error("the code was exchanged, and the tokens were deleted since; the user must log in anew")]
    Gone,
    /// It was exchanged, and the tokens are others.
    #[error("the code was exchanged, and the tokens have changed since; read them")]
    Changed,
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
        let lease = match self.turn(asker, &place, grant).await? {
            Turn::Ours(lease) => lease,
            Turn::Over(outcome) => return self.as_before(&place, outcome).await,
        };
        let fetched = self.present(&provider, (asker, &place), grant, lease).await;
        if let Err(error) = self.stores.release(lease).await {
            tracing::warn!(%error, "the lease of a code ends by itself");
        }
        fetched
    }

    /// What came of the code before, or the right to present it now.
    async fn turn(
        &self,
        asker: &ChangeContext,
        place: &Place,
        grant: &CodeGrant,
    ) -> Result<Turn, ExchangeFailure> {
        let began = uptime();
        loop {
            if let Some(outcome) = self.outcome(asker).await? {
                return Ok(Turn::Over(outcome));
            }
            match self.stores.claim_code(place, &grant.code).await? {
                Claim::Taken(lease) => {
                    if lease.is_inherited() {
                        tokio::time::sleep(GRACE).await;
                    }
                    // It may have come between the look and the lease.
                    let turn = match self.outcome(asker).await {
                        Ok(None) => return Ok(Turn::Ours(lease)),
                        Ok(Some(outcome)) => Ok(Turn::Over(outcome)),
                        Err(error) => Err(error.into()),
                    };
                    self.stores.release(lease).await?;
                    return turn;
                }
                Claim::Not(_) if uptime().saturating_sub(began) > WAIT => {
                    return Err(ExchangeFailure::InProgress);
                }
                Claim::Not(_) => tokio::time::sleep(LOOK).await,
            }
        }
    }

    async fn outcome(&self, asker: &ChangeContext) -> Result<Option<Outcome>, StoresFailure> {
        match &asker.idempotency {
            Some(ticket) => self.stores.outcome(ticket).await,
            None => Ok(None),
        }
    }

    /// The answer of a request that came before. Tokens that are others by now are not shown: whoever may exchange need not be allowed to read.
    async fn as_before(
        &self,
        place: &Place,
        outcome: Outcome,
    ) -> Result<(Done, AuthTokens), ExchangeFailure> {
        let done = outcome.map_err(|_| ExchangeFailure::Lost)?;
        let opened = self.stores.read(place).await?.ok_or(ExchangeFailure::Gone)?;
        if done.revision != Some(opened.revision) {
            return Err(ExchangeFailure::Changed);
        }
        Ok((done, AuthTokens::of(&opened)?))
    }

    /// Presents the code, and stores what the provider gives for it. What can't be stored is revoked: nobody knows of it.
    async fn present(
        &self,
        provider: &Provider,
        (asker, place): (&ChangeContext, &Place),
        grant: &CodeGrant,
        lease: Lease,
    ) -> Result<(Done, AuthTokens), ExchangeFailure> {
        let now = self.clock.now();
        let verifier = grant.code_verifier.as_ref().map(|verifier| verifier.as_str());
        let granted = provider.exchange(&grant.code, &grant.redirect_uri, verifier).await;
        let granted = granted.map_err(ExchangeFailure::Provider)?;
        let tokens = due::renewed(None, &granted, now);
        let mut keeping = Keeping::new(self, provider, lease);
        let failure = loop {
            let failure = match self.store(asker, place, &tokens).await {
                Ok(done) => return Ok((done, tokens)),
                Err(ExchangeFailure::Stores(failure)) => failure,
                Err(failure) => break failure,
            };
            let again = keeping.again(failure).await;
            // The database may not have said that it was written; to write it once more could undo what came after.
            if let Some(done) = self.stored(place, &granted).await {
                return Ok((done, tokens));
            }
            if let Err(failure) = again {
                break failure.into();
            }
        };
        provider.counters.lose();
        tracing::error!(provider = place.name(), error = %failure, "the tokens for a code could not be stored, and are revoked if they can be");
        discard(provider, &granted).await;
        Err(failure)
    }

    async fn store(
        &self,
        asker: &ChangeContext,
        place: &Place,
        tokens: &AuthTokens,
    ) -> Result<Done, ExchangeFailure> {
        let write = Write::Put(tokens.pair.to_bytes(), tokens.about());
        let wanted = Wanted {
            operation: "auth_token.exchange",
            is_batch: false,
            context: asker,
            still_may: None,
            opened_with: &[],
            lease: None,
        };
        let change = Change { place: place.clone(), condition: Condition::None, write };
        match self.stores.change_one(wanted, change).await? {
            Some(Ok(done)) => Ok(done),
            Some(Err(Refusal::NotPermitted)) => Err(ExchangeFailure::NotPermitted),
            Some(Err(Refusal::Precondition | Refusal::Missing)) | None => Err(ExchangeFailure::Lost),
        }
    }

    async fn stored(&self, place: &Place, granted: &Granted) -> Option<Done> {
        let opened = self.stores.read(place).await.ok().flatten()?;
        let Opened { revision, created_at, updated_at, .. } = opened;
        let done =
            Done { revision: Some(revision), is_new: created_at == updated_at, created_at, at: updated_at };
        is_stored(granted, &opened).then_some(done)
    }
}

/// Whose turn it is with a code.
enum Turn {
    /// The lease is ours.
    Ours(Lease),
    /// It was exchanged under this `Idempotency-Key`.
    Over(Outcome),
}
