//! The actor that keeps the schedule, on a thread of its own so that no flood of requests delays a rotation.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix::prelude::*;
use claviger_crypto::random;
use claviger_entity::{KeyName, VersionNumber};
use tokio::sync::watch;

use super::{
    core::{Agenda, Due},
    figures::{Outcome, Tally, place},
};
use crate::{
    audit::{AuditHandle, AuditRecord, Subject, event_of},
    clock::Clock,
    keyring::{
        Applied, ChangeContext, Epoch, KeyRingHandle, RingFailure,
        core::{Command, RingError, Rotate},
    },
    store::StoreError,
    uses,
};

/// Things done in one round; the rest follows in the next, so that changes asked for by callers come in between.
const ROUND_MAX: usize = 100;
/// Longest time for a sweep: what is due must not wait for a database that does not answer.
const SWEEP_MAX: Duration = Duration::from_secs(5);
/// Rounds between two sweeps of forgotten answers.
const SWEEP_ROUNDS: u32 = 60;

pub(super) struct RotationScheduler {
    pub(super) ring: KeyRingHandle,
    pub(super) audit: AuditHandle,
    pub(super) node: String,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) tick: Duration,
    pub(super) agenda: Agenda,
    pub(super) changes: watch::Receiver<Epoch>,
    pub(super) rounds: u32,
    pub(super) busy: bool,
    pub(super) tally: Arc<Tally>,
}

impl Actor for RotationScheduler {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.again(context);
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
    /// A little before or after the tick: of several nodes one finds first what is due, and the others find it done.
    fn again(&self, context: &mut Context<Self>) {
        let jitter: u32 = random::bytes(1).map_or(0, |bytes| bytes.first().copied().unwrap_or(0).into());
        let pause = self.tick * 9 / 10 + self.tick / 5 * jitter / 256;
        context.run_later(pause, |scheduler, context| {
            scheduler.round(context);
            scheduler.again(context);
        });
    }

    fn round(&mut self, context: &mut Context<Self>) {
        if self.busy {
            return;
        }
        let now = self.clock.now();
        self.rounds = self.rounds.wrapping_add(1);
        let sweep = self.rounds.is_multiple_of(SWEEP_ROUNDS);
        let snapshot = self.ring.snapshot();
        let (mut due, _) = self.agenda.due(snapshot.ring(), now, ROUND_MAX);
        let worn = uses::worn(&snapshot, now).into_iter().map(|(name, primary)| Due::Worn(name, primary));
        due.extend(worn.take(ROUND_MAX));
        drop(snapshot);
        if due.is_empty() && !sweep {
            return;
        }
        self.busy = true;
        let (ring, audit, node) = (self.ring.clone(), self.audit.clone(), self.node.clone());
        let tally = Arc::clone(&self.tally);
        let work = async move {
            for due in due {
                let began = Instant::now();
                let change = place(&due);
                let (outcome, done) = carry_out(&ring, due).await;
                tally.count(change, outcome);
                if let Some((event, applied)) = done {
                    record(&audit, &node, event, &applied, began).await;
                }
            }
            if sweep {
                let forgotten = tokio::time::timeout(SWEEP_MAX, ring.database().forget_idempotent(now)).await;
                if let Err(error) = forgotten.unwrap_or(Err(StoreError::Late)) {
                    tracing::warn!(%error, "forgotten answers were not removed");
                }
                let left = tokio::time::timeout(SWEEP_MAX, ring.database().forget_leases(now)).await;
                if let Err(error) = left.unwrap_or(Err(StoreError::Late)) {
                    tracing::warn!(%error, "leases that nobody has ended were not removed");
                }
                let noted = tokio::time::timeout(SWEEP_MAX, ring.record_uses()).await;
                if let Err(error) = noted.unwrap_or(Err(StoreError::Late)) {
                    tracing::warn!(%error, "last uses of API keys were not written");
                }
            }
        };
        context.spawn(work.into_actor(self).map(|(), scheduler, _| scheduler.busy = false));
    }
}

/// What became of it, and what was done, if anything.
async fn carry_out(ring: &KeyRingHandle, due: Due) -> (Outcome, Option<(&'static str, Applied)>) {
    let context = ChangeContext::system("schedule");
    let (event, outcome) = match due {
        Due::Standby(name) => ("key.publish_standby", ring.replenish(context, name).await),
        Due::Rotation(name, primary) => {
            let reason = Some("schedule".to_owned());
            ("key.rotate", ring.rotate(context, rotation(name, reason, primary)).await)
        }
        Due::Worn(name, primary) => {
            let reason = Some("encrypted 2^31 times".to_owned());
            ("key.rotate", ring.rotate(context, rotation(name, reason, primary)).await)
        }
        Due::Retirement(name) => ("key.retire", ring.apply(context, Command::Retire { name }).await),
        Due::EndOfLife(name) => ("key.destroy", ring.apply(context, Command::EndOfLife { name }).await),
    };
    match outcome {
        Ok(applied) => (Outcome::Done, Some((event, applied))),
        // Somebody else was there first, or it is not due any more: that is how it should be.
        Err(RingFailure::Refused(RingError::StateConflict(_) | RingError::KeyNotFound)) => {
            (Outcome::Lost, None)
        }
        Err(error) => {
            tracing::warn!(event, %error, "a scheduled change failed and will be tried again");
            (Outcome::Failed, None)
        }
    }
}

fn rotation(name: KeyName, reason: Option<String>, primary: VersionNumber) -> Rotate {
    Rotate { name, force: false, reason, expected: Some(primary) }
}

/// The change has its record in its transaction already, so a log that can't be written holds nothing up.
async fn record(audit: &AuditHandle, node: &str, event: &'static str, applied: &Applied, began: Instant) {
    let subject = &applied.subject;
    let subject = Subject {
        key: Some(subject.name.as_str().to_owned()),
        version: Some(subject.version.number()),
        kid: Some(subject.kid.as_str().to_owned()),
        ..Subject::default()
    };
    let record = AuditRecord {
        ts: applied.at,
        event: event_of(event),
        operation: event,
        actor: "system",
        actor_id: None,
        address: None,
        subject: &subject,
        outcome: "ok",
        status: None,
        request_id: "schedule",
        node,
        epoch: applied.epoch.0,
        duration_us: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
        times: None,
    };
    if let Err(error) = audit.append(&record, true).await {
        tracing::warn!(%error, event, "a scheduled change is recorded in the database only");
    }
}
