//! What a provider has given is written, or taken back: with one that changes its refresh tokens there are no others by now.

use std::{sync::atomic::Ordering, time::Duration};

use claviger_actors::{
    clock::uptime,
    stores::{Lease, Opened, StoresFailure},
};

use super::{Providers, answer::Granted, call::Provider};

/// For how long it is tried when the database is away: longer than a fail-over takes.
const WRITE: Duration = Duration::from_secs(5 * 60);
/// Pause after the first try, and the longest one: shorter than [`GRACE`].
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// For how long whoever takes a lease over that nobody has ended leaves the provider alone: the one before may be about to write, and a
/// refresh token or code that is used twice may end what was given for it.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// Something that was given and is not written yet; a node that stops waits for it.
pub(super) struct Keeping<'a> {
    providers: &'a Providers,
    provider: &'a Provider,
    lease: Lease,
    began: Duration,
    tries: u32,
}

impl<'a> Keeping<'a> {
    pub(super) fn new(providers: &'a Providers, provider: &'a Provider, lease: Lease) -> Self {
        providers.keeping.fetch_add(1, Ordering::Relaxed);
        Self { providers, provider, lease, began: uptime(), tries: 0 }
    }

    /// Waits until it is to be tried again, and sees to it that nobody else asks meanwhile.
    ///
    /// # Errors
    /// It is not to be tried again.
    pub(super) async fn again(&mut self, failure: StoresFailure) -> Result<(), StoresFailure> {
        let provider = self.provider.settings.name.as_str();
        let tried = uptime().saturating_sub(self.began);
        let Some(pause) = pause(is_final(&failure), self.tries, tried) else {
            return Err(failure);
        };
        if self.tries == 0 {
            tracing::warn!(provider, error = %failure, "new tokens could not be stored yet");
        }
        self.tries = self.tries.saturating_add(1);
        if let Err(error) = self.providers.stores.renew(self.lease).await {
            tracing::debug!(provider, %error, "a lease was not renewed");
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

impl Drop for Keeping<'_> {
    fn drop(&mut self) {
        self.providers.keeping.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Another try would end like this one.
const fn is_final(failure: &StoresFailure) -> bool {
    match failure {
        StoresFailure::Damaged
        | StoresFailure::TooLong
        | StoresFailure::ActorGone
        | StoresFailure::NotPermitted
        | StoresFailure::IdempotencyMismatch => true,
        // A key that is suspended may be resumed.
        StoresFailure::Key(_) | StoresFailure::Behind | StoresFailure::Storage(_) => false,
    }
}

/// How long to wait after so many tries, which have taken so long; `None` = it is given up.
fn pause(is_final: bool, tries: u32, tried: Duration) -> Option<Duration> {
    let grown = PAUSE.saturating_mul(1_u32.checked_shl(tries).unwrap_or(u32::MAX));
    (!is_final && tried < WRITE).then(|| grown.min(PAUSE_MAX))
}

/// What was given is there: the database may not have said that it was written.
pub(super) fn is_stored(granted: &Granted, opened: &Opened) -> bool {
    opened.tokens().is_ok_and(|pair| pair.access_token == granted.access_token)
}

/// Has revoked, as far as it can be, what is not kept: both, since not all providers end one with the other.
pub(super) async fn discard(provider: &Provider, granted: &Granted) {
    let refresh = granted.refresh_token.as_ref().map(|token| (token, "refresh_token"));
    for (token, hint) in refresh.into_iter().chain([(&granted.access_token, "access_token")]) {
        match provider.revoke(token, hint).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                let provider = provider.settings.name.as_str();
                tracing::warn!(provider, %error, hint, "a token that is not kept could not be revoked");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_is_tried_to_be_written_for_long() {
        let seconds = Duration::from_secs;
        for (is_final, tries, tried, expected) in [
            (false, 0, 0, Some(250)),
            (false, 1, 1, Some(500)),
            (false, 2, 2, Some(1_000)),
            (false, 40, 60, Some(1_000)),
            (false, u32::MAX, 299, Some(1_000)),
            (false, 300, 300, None),
            (true, 0, 0, None),
            (true, 3, 2, None),
        ] {
            let expected = expected.map(Duration::from_millis);
            assert_eq!(pause(is_final, tries, seconds(tried)), expected, "{is_final} {tries} {tried}");
        }
        assert!(PAUSE_MAX < GRACE, "whoever takes over would ask before the one before has tried again");
        for (failure, expected) in [
            (StoresFailure::Behind, false),
            (StoresFailure::NotPermitted, true),
            (StoresFailure::ActorGone, true),
            (StoresFailure::IdempotencyMismatch, true),
            (StoresFailure::TooLong, true),
            (StoresFailure::Damaged, true),
        ] {
            assert_eq!(is_final(&failure), expected, "{failure}");
        }
    }
}
