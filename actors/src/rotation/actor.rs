//! The actor that keeps the schedule, on a thread of its own so that no flood of requests delays a rotation.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use tokio::sync::watch;

use super::core::{Agenda, Due};
use crate::{
    clock::Clock,
    keyring::{
        ChangeContext, Epoch, KeyRingHandle, RingFailure,
        core::{Command, RingError, Rotate},
    },
};

/// Things done in one round; the rest follows in the next, so that changes asked for by callers come in between.
const ROUND_MAX: usize = 100;
/// Rounds between two sweeps of forgotten answers.
const SWEEP_ROUNDS: u32 = 60;

pub(super) struct RotationScheduler {
    pub(super) ring: KeyRingHandle,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) tick: Duration,
    pub(super) agenda: Agenda,
    pub(super) changes: watch::Receiver<Epoch>,
    pub(super) rounds: u32,
    pub(super) busy: bool,
}

impl Actor for RotationScheduler {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.run_interval(self.tick, Self::round);
        context.notify(Changed);
    }
}

/// The ring has changed, or the actor has just started.
#[derive(Message)]
#[rtype(result = "()")]
struct Changed;

impl Handler<Changed> for RotationScheduler {
    type Result = ();

    fn handle(&mut self, _: Changed, context: &mut Self::Context) {
        self.round(context);
        let mut changes = self.changes.clone();
        changes.mark_unchanged();
        let wait = async move { changes.changed().await.is_ok() };
        context.spawn(wait.into_actor(self).map(|alive, _, context| {
            if alive {
                context.notify(Changed);
            }
        }));
    }
}

impl RotationScheduler {
    fn round(&mut self, context: &mut Context<Self>) {
        if self.busy {
            return;
        }
        let now = self.clock.now();
        self.rounds = self.rounds.wrapping_add(1);
        let sweep = self.rounds.is_multiple_of(SWEEP_ROUNDS);
        let (due, _) = self.agenda.due(self.ring.snapshot().ring(), now, ROUND_MAX);
        if due.is_empty() && !sweep {
            return;
        }
        self.busy = true;
        let ring = self.ring.clone();
        let work = async move {
            for due in due {
                carry_out(&ring, due).await;
            }
            if sweep && let Err(error) = ring.database().forget_idempotent(now).await {
                tracing::warn!(%error, "forgotten answers were not removed");
            }
        };
        context.spawn(work.into_actor(self).map(|(), scheduler, _| scheduler.busy = false));
    }
}

async fn carry_out(ring: &KeyRingHandle, due: Due) {
    let context = ChangeContext::system("schedule");
    let (name, outcome) = match due {
        Due::Standby(name) => (name.clone(), ring.replenish(context, name).await),
        Due::Rotation(name, primary) => {
            let reason = Some("schedule".to_owned());
            let rotate = Rotate { name: name.clone(), force: false, reason, expected: Some(primary) };
            (name, ring.rotate(context, rotate).await)
        }
        Due::Retirement(name) => (name.clone(), ring.apply(context, Command::Retire { name }).await),
        Due::EndOfLife(name) => (name.clone(), ring.apply(context, Command::EndOfLife { name }).await),
    };
    match outcome {
        Ok(applied) => {
            let state = applied.subject.state;
            tracing::info!(key = %name, version = %applied.subject.version, %state, "done by schedule");
        }
        // Somebody else was there first, or it is not due any more: that is how it should be.
        Err(RingFailure::Refused(RingError::StateConflict(_) | RingError::KeyNotFound)) => {}
        Err(error) => {
            tracing::warn!(key = %name, %error, "a scheduled change failed and will be tried again")
        }
    }
}
