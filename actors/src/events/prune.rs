//! The actor that removes lines of the change log that are too old to be asked for.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use actix::prelude::*;
use chrono::TimeDelta;
use claviger_crypto::random;

use super::hub::Shared;
use crate::{
    clock::{Clock as _, ClusterClock},
    store::{Database, StoreError},
};

/// How long lines are kept.
const KEPT: TimeDelta = TimeDelta::days(7);
/// Pause between two rounds.
const PAUSE: Duration = Duration::from_secs(600);
/// Pause between two deletions of one round: nobody is to wait for them.
const BREATH: Duration = Duration::from_millis(200);
/// Deletions of one round.
const ROUNDS: u32 = 200;
/// Longest time for one.
const PRUNE_MAX: Duration = Duration::from_secs(10);

pub(super) struct Pruner {
    shared: Arc<Shared>,
    clock: Arc<ClusterClock>,
}

impl Pruner {
    /// Starts it.
    pub(super) fn keep(shared: Arc<Shared>, clock: Arc<ClusterClock>) {
        Self::start_in_arbiter(&Arbiter::new().handle(), |_| Self { shared, clock });
    }

    /// A little sooner or later, so that several nodes do not prune together for ever.
    fn again(context: &mut Context<Self>) {
        let jitter: u32 = random::bytes(1).map_or(0, |bytes| bytes.first().copied().unwrap_or(0).into());
        context.run_later(PAUSE * 9 / 10 + PAUSE / 5 * jitter / 256, |pruner, context| {
            let (shared, clock) = (Arc::clone(&pruner.shared), Arc::clone(&pruner.clock));
            let work = async move {
                if let Err(error) = round(&shared, &clock).await {
                    tracing::warn!(%error, "old lines of the change log were not removed");
                }
            };
            context.spawn(work.into_actor(pruner).map(|(), _, context| Self::again(context)));
        });
    }
}

async fn round(shared: &Shared, clock: &ClusterClock) -> Result<(), StoreError> {
    for _ in 0..ROUNDS {
        let (now, newest) = (clock.now(), shared.ring.position().epoch);
        let question =
            move |database: Database| async move { database.prune_lines((now - KEPT, now), newest).await };
        let pruned = tokio::time::timeout(PRUNE_MAX, shared.ring.database().at_home(question)).await;
        let pruned = pruned.map_err(|_| StoreError::Late)??;
        shared.tally.pruned.fetch_add(pruned, Ordering::Relaxed);
        if pruned == 0 {
            break;
        }
        tokio::time::sleep(BREATH).await;
    }
    Ok(())
}

impl Actor for Pruner {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        Self::again(context);
    }
}
