//! The actor that forgets what has expired, here and in the database, on a thread of its own.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use claviger_crypto::random;

use super::handle::Shared;
use crate::{clock::Clock as _, store::StoreError};

/// Pause between two rounds.
const PAUSE: Duration = Duration::from_secs(10);
/// Rounds after which the database is swept although nothing has expired here.
const SWEEP_ROUNDS: u32 = 30;
/// Longest time for a round in the database.
const SWEEP_MAX: Duration = Duration::from_secs(30);

pub(super) struct TokenKeeper {
    shared: Arc<Shared>,
    rounds: u32,
}

impl TokenKeeper {
    /// Starts it.
    pub(super) fn keep(shared: Arc<Shared>) {
        Self::start_in_arbiter(&Arbiter::new().handle(), |_| Self { shared, rounds: 0 });
    }

    /// A little sooner or later, so that several nodes do not sweep together for ever.
    fn again(context: &mut Context<Self>) {
        let jitter: u32 = random::bytes(1).map_or(0, |bytes| bytes.first().copied().unwrap_or(0).into());
        context.run_later(PAUSE * 9 / 10 + PAUSE / 5 * jitter / 256, |keeper, context| {
            let shared = Arc::clone(&keeper.shared);
            let forgotten = shared.revocations.forget(shared.clock.now().timestamp());
            keeper.rounds = keeper.rounds.wrapping_add(1);
            if forgotten == 0 && !keeper.rounds.is_multiple_of(SWEEP_ROUNDS) {
                // An idle node leaves the database alone.
                return Self::again(context);
            }
            let work = async move {
                let swept = tokio::time::timeout(SWEEP_MAX, sweep(&shared)).await;
                if let Err(error) = swept.unwrap_or(Err(StoreError::Late)) {
                    tracing::warn!(%error, "expired tokens and revocations were not removed");
                }
            };
            context.spawn(work.into_actor(keeper).map(|(), _, context| Self::again(context)));
        });
    }
}

async fn sweep(shared: &Shared) -> Result<(), StoreError> {
    let (database, now) = (shared.ring.database(), shared.clock.now());
    database.forget_revocations(now).await?;
    database.forget_refresh(now).await?;
    Ok(())
}

impl Actor for TokenKeeper {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        Self::again(context);
    }
}
