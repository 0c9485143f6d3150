//! Tokens that are refreshed when somebody reads them: once in the whole cluster, and without a lock.
//!
//! A read that finds nothing due ends there. Otherwise one task of the node, which outlives the request that has begun it, takes the lease of
//! the tokens, looks at them again, asks the provider, and writes what it gives on condition that nobody else has written since; what the
//! provider refuses, or what is of no use any more, it deletes on condition that nobody else has had a lease either. Whoever reads meanwhile waits for the task, and a task waits for the lease of another node.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use claviger_actors::{
    clock::uptime,
    keyring::ChangeContext,
    stores::{AuthTokens, Claim, Lease, Opened, Place, Purpose, Revision, Standing, StoresFailure},
};
use tokio::sync::watch;

use super::{
    CallError, Providers,
    answer::Granted,
    call::Provider,
    due::{self, Due},
    keep::{GRACE, Keeping, discard, is_stored},
};

/// How long somebody waits for a refresh that others do, or for one with tokens that still are of use.
const WAIT: Duration = Duration::from_secs(5);
/// How long whoever has begun it waits: the provider's time, and the write.
const OWN_WAIT: Duration = Duration::from_secs(18);
/// How often the lease of another node is looked at.
const LOOK: Duration = Duration::from_millis(150);
/// Refreshes of one node at a time.
const FLIGHTS_MAX: usize = 512;
/// How often a reader looks anew because the tokens are others by now.
const LOOKS: usize = 3;

/// Why a reader gets no tokens.
#[derive(Debug, thiserror::Error)]
pub enum RefreshFailure {
    /// There are none.
    #[error("there are no such tokens")]
    Missing,
    /// Both are of no use any more, or the provider refuses them.
    #[error(
        "the tokens have ended, or the provider does not accept them any more; the user must log in anew"
    )]
    Reauthenticate,
    /// A refresh is under way.
    #[error("the tokens are being refreshed; try again")]
    InProgress,
    /// The provider has failed, and the access token has ended.
    #[error("the access token has ended, and the provider can't refresh it now; try again")]
    Unavailable,
    /// The stores failed.
    #[error(transparent)]
    Stores(#[from] StoresFailure),
}

/// How a refresh ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Landed {
    /// The tokens are others, or gone.
    Changed,
    /// They were deleted, since the provider refuses them or their time is over.
    Ended,
    /// The provider has failed, a moment ago or now.
    Failed,
    /// Another node is at it.
    Elsewhere,
}

/// Refreshes of this node that are under way.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<Place, watch::Receiver<Option<Landed>>>>);

impl Flights {
    fn all(&self) -> MutexGuard<'_, HashMap<Place, watch::Receiver<Option<Landed>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self) -> usize {
        self.all().len()
    }
}

/// A refresh ends for those who wait, whatever becomes of its task.
struct Flight {
    providers: Arc<Providers>,
    place: Place,
    landed: watch::Sender<Option<Landed>>,
}

impl Flight {
    fn land(self, landed: Landed) {
        self.landed.send_replace(Some(landed));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.providers.flights.all().remove(&self.place);
    }
}

impl Providers {
    /// The tokens at a place, refreshed if they are due. Tokens of a provider that is not configured are as they were written.
    ///
    /// # Errors
    /// See [`RefreshFailure`].
    pub async fn current(
        self: &Arc<Self>,
        asker: &ChangeContext,
        place: &Place,
    ) -> Result<Opened, RefreshFailure> {
        for look in 0..LOOKS {
            let opened = self.stores.read(place).await?.ok_or(match look {
                0 => RefreshFailure::Missing,
                // They were there a moment ago.
                _ => RefreshFailure::Reauthenticate,
            })?;
            let Some(provider) = self.of(place) else { return Ok(opened) };
            if self.is_held_back() {
                return Ok(opened);
            }
            let tokens = AuthTokens::of(&opened)?;
            let usable = match due::judge(&tokens, self.now()) {
                Due::Not | Due::Last => return Ok(opened),
                // Somebody may have been given others for them, and be about to write those.
                Due::Dead => false,
                Due::Refresh { usable } => usable,
            };
            let landed = self.landed(provider, asker, (place, usable)).await;
            // It may have ended while somebody waited.
            let usable = usable && matches!(due::judge(&tokens, self.now()), Due::Refresh { usable: true });
            match landed {
                Some(Landed::Changed) => {
                    let opened = self.stores.read(place).await?.ok_or(RefreshFailure::Reauthenticate)?;
                    match due::judge(&AuthTokens::of(&opened)?, self.now()) {
                        Due::Refresh { usable: false } | Due::Dead => {}
                        Due::Not | Due::Last | Due::Refresh { usable: true } => return Ok(opened),
                    }
                }
                Some(Landed::Ended) => return Err(RefreshFailure::Reauthenticate),
                Some(Landed::Failed | Landed::Elsewhere) | None if usable => return Ok(opened),
                Some(Landed::Failed) => return Err(RefreshFailure::Unavailable),
                Some(Landed::Elsewhere) | None => return Err(RefreshFailure::InProgress),
            }
        }
        Err(RefreshFailure::InProgress)
    }

    /// Of a deployment that was restored nobody knows whether its tokens are the last that the provider has given.
    fn is_held_back(&self) -> bool {
        self.book.ring.snapshot().restored().is_some()
    }

    /// A single `GET` would refresh these tokens.
    #[must_use]
    pub fn is_due(&self, place: &Place, opened: &Opened) -> bool {
        let judged = || Some(due::judge(&AuthTokens::of(opened).ok()?, self.now()));
        !self.is_held_back()
            && self.of(place).is_some()
            && matches!(judged(), Some(Due::Refresh { .. } | Due::Dead))
    }

    /// Waits for the refresh of tokens, which begins if none is under way; `None` when that takes too long.
    async fn landed(
        self: &Arc<Self>,
        provider: &Arc<Provider>,
        asker: &ChangeContext,
        (place, usable): (&Place, bool),
    ) -> Option<Landed> {
        let (mut ended, is_own) = {
            let mut all = self.flights.all();
            match all.get(place) {
                Some(ended) => (ended.clone(), false),
                None if all.len() >= FLIGHTS_MAX => return Some(Landed::Failed),
                None => {
                    let (landed, ended) = watch::channel(None);
                    all.insert(place.clone(), ended.clone());
                    let flight = Flight { providers: Arc::clone(self), place: place.clone(), landed };
                    let (provider, asker) = (Arc::clone(provider), unbound(asker));
                    // On the runtime of the node: it goes on when whoever has asked is gone.
                    self.home.spawn(fly(flight, provider, asker));
                    (ended, true)
                }
            }
        };
        let wait = if is_own && !usable { OWN_WAIT } else { WAIT };
        match tokio::time::timeout(wait, ended.wait_for(Option::is_some)).await {
            Ok(Ok(landed)) => *landed,
            // The task is gone without a word.
            Ok(Err(_)) => Some(Landed::Failed),
            Err(_) => None,
        }
    }
}

/// Who has asked is on record; whether they still may does not matter any more once a provider has given new tokens.
fn unbound(asker: &ChangeContext) -> ChangeContext {
    ChangeContext { api_key: None, still_may: None, idempotency: None, ..asker.clone() }
}

async fn fly(flight: Flight, provider: Arc<Provider>, asker: ChangeContext) {
    let landed = refresh(&flight.providers, &provider, &asker, &flight.place).await;
    let landed = landed.unwrap_or_else(|error| {
        tracing::warn!(%error, "tokens could not be refreshed");
        Landed::Failed
    });
    flight.land(landed);
}

/// What is to be done with the tokens at a place.
enum Seen {
    /// Nothing, or there are none.
    Nothing,
    /// They are to be refreshed.
    Due(AuthTokens, Revision),
    /// They are to be deleted.
    Dead(Revision),
}

async fn look(providers: &Providers, place: &Place) -> Result<Seen, StoresFailure> {
    let Some(opened) = providers.stores.read(place).await? else { return Ok(Seen::Nothing) };
    let tokens = AuthTokens::of(&opened)?;
    Ok(match due::judge(&tokens, providers.now()) {
        Due::Not | Due::Last => Seen::Nothing,
        Due::Refresh { .. } => Seen::Due(tokens, opened.revision),
        Due::Dead => Seen::Dead(opened.revision),
    })
}

/// Refreshes tokens, or ends them, or waits until another node has.
async fn refresh(
    providers: &Providers,
    provider: &Provider,
    asker: &ChangeContext,
    place: &Place,
) -> Result<Landed, StoresFailure> {
    let stores = &providers.stores;
    let began = uptime();
    let is_late = || uptime().saturating_sub(began) > WAIT;
    let mut seen = None;
    loop {
        let (revision, purpose) = match look(providers, place).await? {
            Seen::Nothing => return Ok(Landed::Changed),
            Seen::Due(_, revision) => (revision, Purpose::Ask),
            Seen::Dead(revision) => (revision, Purpose::End),
        };
        let standing = match stores.claim(&revision, purpose).await? {
            Claim::Taken(lease) => {
                let ours = Ours { provider, asker, place, revision, lease, began };
                match ours.carry_out(providers).await {
                    Some(landed) => return Ok(landed),
                    // They are others by now.
                    None if is_late() => return Ok(Landed::Elsewhere),
                    None => continue,
                }
            }
            Claim::Not(standing) => standing,
        };
        if let Standing::Resting(_) = standing {
            return Ok(Landed::Failed);
        }
        // Others are at it. What they come to is what this comes to.
        loop {
            let (standing, row) = stores.standing(revision.id).await?;
            let failures = row.map_or(0, |row| row.failures);
            if failures > *seen.get_or_insert(failures) {
                return Ok(Landed::Failed);
            }
            if standing != Standing::Held {
                break;
            }
            if is_late() {
                return Ok(Landed::Elsewhere);
            }
            tokio::time::sleep(LOOK).await;
        }
        if is_late() {
            return Ok(Landed::Elsewhere);
        }
    }
}

/// Tokens that are ours to refresh, or to end.
struct Ours<'a> {
    provider: &'a Provider,
    asker: &'a ChangeContext,
    place: &'a Place,
    revision: Revision,
    lease: Lease,
    began: Duration,
}

impl Ours<'_> {
    /// Looks again, since somebody may have been faster between the look and the lease, and does what there is to do; `None` when the lease is not
    /// that of the tokens which are there.
    async fn carry_out(mut self, providers: &Providers) -> Option<Landed> {
        if self.lease.is_inherited() {
            tokio::time::sleep(GRACE).await;
        }
        let (tokens, revision) = match look(providers, self.place).await {
            Ok(Seen::Nothing) => return Some(self.release(providers, Landed::Changed).await),
            Ok(Seen::Due(tokens, revision)) => (Some(tokens), revision),
            Ok(Seen::Dead(revision)) => (None, revision),
            Err(error) => {
                tracing::warn!(provider = self.place.name(), %error, "tokens could not be refreshed");
                return Some(self.release(providers, Landed::Failed).await);
            }
        };
        // They were deleted and written anew: those have another lease, which somebody else may hold.
        if revision.id != self.revision.id {
            self.release(providers, Landed::Changed).await;
            return None;
        }
        self.revision = revision;
        Some(match tokens {
            Some(tokens) => self.ask(providers, &tokens).await,
            None => self.end(providers).await,
        })
    }

    /// Asks the provider, and does as it says. No lock is held, and no transaction is open, while it thinks.
    async fn ask(&self, providers: &Providers, tokens: &AuthTokens) -> Landed {
        let Some(refresh_token) = &tokens.pair.refresh_token else {
            return self.release(providers, Landed::Failed).await;
        };
        // What it gives lives from before it was asked, at the latest.
        let now = providers.clock.now();
        match self.provider.refresh(refresh_token).await {
            Ok(granted) => {
                let renewed = due::renewed(Some(tokens), &granted, now);
                self.keep(providers, &renewed, &granted).await
            }
            Err(error) if error.is_refusal() => self.end(providers).await,
            // It was not asked at all: that says nothing of these tokens, and another node may have room.
            Err(CallError::Busy) => self.release(providers, Landed::Failed).await,
            Err(error) => self.give_up(providers, &error).await,
        }
    }

    /// Deletes the tokens.
    async fn end(&self, providers: &Providers) -> Landed {
        let ending = ("auth_token.end", &self.revision, Some(&self.lease));
        match providers.stores.delete_auth_tokens(self.asker, self.place, ending).await {
            Ok(true) => {
                self.record(providers, "auth_token.end");
                Landed::Ended
            }
            // Somebody has written others meanwhile, or is at it.
            Ok(false) => self.release(providers, Landed::Changed).await,
            Err(error) => self.give_up(providers, &error).await,
        }
    }

    fn record(&self, providers: &Providers, operation: &'static str) {
        providers.record(operation, (self.asker, self.place), self.began);
    }

    async fn release(&self, providers: &Providers, landed: Landed) -> Landed {
        if let Err(error) = providers.stores.release(self.lease).await {
            tracing::warn!(%error, "the lease of a refresh ends by itself");
        }
        landed
    }

    async fn give_up(&self, providers: &Providers, error: &(dyn std::error::Error + Send + Sync)) -> Landed {
        tracing::debug!(provider = self.place.name(), %error, "tokens were not refreshed");
        if let Err(error) = providers.stores.give_up(self.lease).await {
            tracing::warn!(%error, "the lease of a refresh ends by itself");
        }
        Landed::Failed
    }

    /// Writes what was given, whoever has had a lease since: it was given for the tokens that are there.
    async fn keep(&self, providers: &Providers, tokens: &AuthTokens, granted: &Granted) -> Landed {
        let mut keeping = Keeping::new(providers, self.provider, self.lease);
        loop {
            match providers.stores.replace_auth_tokens(self.asker, self.place, &self.revision, tokens).await {
                Ok(Some(_)) => {
                    self.record(providers, "auth_token.refresh");
                    return Landed::Changed;
                }
                Ok(None) => return self.overtaken(providers, granted).await,
                Err(error) => {
                    if let Err(error) = keeping.again(error).await {
                        self.provider.counters.lose();
                        tracing::error!(provider = self.place.name(), %error, "new tokens could not be stored; their user may have to log in anew");
                        return Landed::Failed;
                    }
                }
            }
        }
    }

    /// Others stand in the place of those that were refreshed, or nothing does: then nobody wants these.
    async fn overtaken(&self, providers: &Providers, granted: &Granted) -> Landed {
        match providers.stores.read(self.place).await {
            // The database had not said that it was written.
            Ok(Some(opened)) if is_stored(granted, &opened) => self.record(providers, "auth_token.refresh"),
            // Not revoked: those which are there may be of the same grant, and would end with them (RFC 7009 §2.1).
            Ok(Some(_)) | Err(_) => {
                self.provider.counters.lose();
                tracing::warn!(provider = self.place.name(), "new tokens came too late, and are not stored");
            }
            Ok(None) => discard(self.provider, granted).await,
        }
        Landed::Changed
    }
}
