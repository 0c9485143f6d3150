//! The actors that tell people, one a channel, so that a receiver that hangs holds up nobody else.
//!
//! What is to be told lies in the database, left there in the transaction that it is about. Any node may tell it, under a lease; a node that dies
//! in between leaves it to another one, so that a receiver may be told twice, and knows by the id that it was.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use async_trait::async_trait;
use claviger_crypto::random;
use uuid::Uuid;

use super::{
    handle::{AlertError, Shared},
    routing::Kind,
};
use crate::{keyring::record::Time, store::Database};

/// Longest time for one try.
pub(super) const TRY_MAX: Duration = Duration::from_secs(15);
/// Tries before it is given up: half a day and more.
const TRIES: u32 = 12;
/// Pauses after the first tries, in seconds; the last one is that of all further ones.
const PAUSES: [u64; 8] = [5, 15, 60, 300, 900, 1_800, 3_600, 7_200];
/// Longest time between two looks at what others may have left.
const LOOK: Duration = Duration::from_secs(60);
/// Pause after the database has failed.
const AGAIN: Duration = Duration::from_secs(5);

/// Something to be told over a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// Identity; receivers know by it what they have got already.
    pub id: Uuid,
    /// The alert or the incident.
    pub about: Uuid,
    /// What it is.
    pub kind: Kind,
    /// When it came up.
    pub made_at: Time,
    /// What is told, JSON.
    pub body: String,
    /// How often it was tried before.
    pub attempts: u32,
}

/// Why something was not told. The texts name no secret, nor where it was to go.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undelivered {
    /// It may work later.
    #[error("{0}")]
    Now(String),
    /// It will never work.
    #[error("{0}")]
    Never(String),
}

/// Whoever can tell people over channels.
#[async_trait]
pub trait Deliver: Send + Sync {
    /// Tells. Twice is no harm.
    ///
    /// # Errors
    /// See [`Undelivered`].
    async fn deliver(&self, channel: &str, parcel: &Parcel) -> Result<(), Undelivered>;
}

/// What becomes of a parcel after a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was told.
    Done,
    /// There is no use in it any more.
    Dropped,
    /// It is tried again after this time; whether that counts as a try.
    Later(Duration, Option<String>),
    /// It is given up.
    Dead(String),
}

/// What follows from a try, and from those before.
#[must_use]
pub(crate) fn fate(tried: Result<(), Undelivered>, before: u32, jitter: u8) -> Fate {
    match tried {
        Ok(()) => Fate::Done,
        Err(Undelivered::Never(why)) => Fate::Dead(why),
        Err(Undelivered::Now(why)) if before.saturating_add(1) >= TRIES => Fate::Dead(why),
        Err(Undelivered::Now(why)) => {
            let place = usize::try_from(before).unwrap_or(usize::MAX).min(PAUSES.len() - 1);
            let pause = PAUSES.get(place).copied().unwrap_or(LOOK.as_secs()) * 1_000;
            // Receivers that were away are not asked by everybody at the same moment.
            Fate::Later(Duration::from_millis(pause + pause * u64::from(jitter) / 1_024), Some(why))
        }
    }
}

pub(super) struct Courier {
    pub(super) shared: Arc<Shared>,
    pub(super) deliver: Arc<dyn Deliver>,
    pub(super) channel: String,
}

impl Actor for Courier {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let (shared, deliver) = (Arc::clone(&self.shared), Arc::clone(&self.deliver));
        context.spawn(carry(shared, deliver, self.channel.clone()).into_actor(self));
    }
}

async fn carry(shared: Arc<Shared>, deliver: Arc<dyn Deliver>, channel: String) {
    let (mut changes, mut left) = (shared.cluster.alerts(), shared.left.subscribe());
    loop {
        let pause = match one(&shared, &*deliver, &channel).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::debug!(channel, %error, "what is to be told waits for the database");
                AGAIN
            }
        };
        if pause.is_zero() {
            continue;
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            changed = left.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Tells what is due first. Answers with how long there is nothing to do.
async fn one(shared: &Shared, deliver: &dyn Deliver, channel: &str) -> Result<Duration, AlertError> {
    if shared.ring.shuts_out(&shared.scribe.node) {
        return Ok(LOOK);
    }
    let (keychain, now) = (shared.keychain(), shared.clock.now());
    let (holder, name) = (shared.holder(), channel.to_owned());
    let take =
        move |database: Database| async move { database.take_parcel(&keychain, (&name, &holder), now).await };
    let (parcel, next) = shared.ask(take).await?;
    let Some((parcel, waits)) = parcel else {
        let until = next.map(|next| (next - shared.clock.now()).to_std().unwrap_or_default());
        // What is due next may be held by somebody who has died.
        return Ok(until.unwrap_or(LOOK).clamp(Duration::from_millis(200), LOOK));
    };
    let fate = match waits {
        Some(fate) => fate,
        None => {
            let tried = tokio::time::timeout(TRY_MAX, deliver.deliver(channel, &parcel)).await;
            let tried = tried.unwrap_or_else(|_| Err(Undelivered::Now("it took too long".to_owned())));
            if let Err(error) = &tried {
                tracing::warn!(channel, kind = parcel.kind.as_str(), %error, "people were not told");
            }
            let jitter = random::bytes(1).map_or(0, |bytes| bytes.first().copied().unwrap_or(0));
            fate(tried, parcel.attempts, jitter)
        }
    };
    shared.tally.count(channel, &fate);
    if let Fate::Dead(why) = &fate {
        tracing::error!(channel, kind = parcel.kind.as_str(), why, "people will not be told");
    }
    let (id, holder, now) = (parcel.id, shared.holder(), shared.clock.now());
    let put = move |database: Database| async move { database.put_parcel(id, &holder, &fate, now).await };
    shared.ask(put).await?;
    Ok(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_taken_is_tried_again_for_a_while() {
        let now = |_: u32| Err(Undelivered::Now("no".to_owned()));
        let mut waited = Duration::ZERO;
        for before in 0..TRIES - 1 {
            let Fate::Later(pause, Some(_)) = fate(now(before), before, 0) else { panic!("{before}") };
            let Fate::Later(longer, _) = fate(now(before), before, 255) else { panic!("{before}") };
            assert!(longer >= pause && longer < pause * 5 / 4, "{pause:?} {longer:?}");
            waited += pause;
        }
        assert!(waited > Duration::from_secs(8 * 3_600), "{waited:?}");
        assert_eq!(fate(now(0), TRIES - 1, 0), Fate::Dead("no".to_owned()));
        assert_eq!(fate(now(0), u32::MAX, 0), Fate::Dead("no".to_owned()));
        assert_eq!(fate(Err(Undelivered::Never("gone".to_owned())), 0, 0), Fate::Dead("gone".to_owned()));
        assert_eq!(fate(Ok(()), u32::MAX, 0), Fate::Done);
    }
}
