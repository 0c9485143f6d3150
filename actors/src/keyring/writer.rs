//! One change from decision to database: decide, seal, commit. The caller swaps the snapshot once this has returned.

use std::sync::Arc;

use chrono::TimeDelta;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    actor::{Applied, ChangeContext, IdempotencyTicket, RingFailure},
    command::RingCommand,
    core::{Ring, RingError},
    record::Time,
    snapshot::{Epoch, Snapshot},
};
use crate::{
    audit::event,
    clock::Clock,
    devices::DeviceError,
    seal::Keychain,
    store::{ChangeSet, Database, Followed, IdempotencyRecord, LoadedRing, StoreError, Turn},
};

/// How long an `Idempotency-Key` is remembered.
pub(crate) const IDEMPOTENCY_HOURS: i64 = 24;

/// Nothing that is stored for others may be lost with a version.
const STILL_NEEDED: RingError = RingError::StateConflict(
    "stored values are sealed under a version that this would end; rotate, wait until they have moved (GET /v1/cluster), and try again",
);

pub(super) struct Writer {
    pub(super) database: Database,
    pub(super) keychain: Arc<Keychain>,
    pub(super) node: String,
}

/// What came of one command.
pub(super) struct Round<S> {
    /// The ring as it was found, where others had changed it meanwhile.
    pub(super) found: Option<Arc<Snapshot>>,
    pub(super) written: Result<Written<S>, RingFailure>,
}

pub(super) enum Written<S> {
    /// The change is in the database; this is the ring after it.
    Changed(Arc<Snapshot>, Applied<S>),
    /// It had been made before, under the same `Idempotency-Key`.
    Replayed(Applied<S>),
}

impl Writer {
    /// Waits until nobody else changes the ring.
    pub(super) async fn take_turn(&self) -> Result<Turn, RingFailure> {
        self.database.take_turn(&self.keychain).await.map_err(RingFailure::Storage)
    }

    /// Carries out a command on the ring as the database has it, which may be further than `base`.
    pub(super) async fn write<C: RingCommand>(
        &self,
        turn: Turn,
        base: &Snapshot,
        command: C,
        context: &ChangeContext,
        clock: &dyn Clock,
    ) -> Result<Round<C::Subject>, RingFailure> {
        let followed = turn.follow(&self.keychain, &base.position()).await.map_err(RingFailure::Storage)?;
        let found = self.caught_up(base, followed)?;
        // After the wait for the turn, which may have been long.
        let now = clock.now();
        let written = self.decide(turn, found.as_deref().unwrap_or(base), command, context, now).await;
        Ok(Round { found, written })
    }

    async fn decide<C: RingCommand>(
        &self,
        turn: Turn,
        base: &Snapshot,
        command: C,
        context: &ChangeContext,
        now: Time,
    ) -> Result<Written<C::Subject>, RingFailure> {
        if !base.accepts(context, now) {
            return Err(RingFailure::ActorGone);
        }
        if let Some(judged) = &context.still_may
            && judged.revision != base.access_revision()
            && !(judged.ask)(base)
        {
            return Err(RingFailure::NotPermitted);
        }
        if let Some(ticket) = &context.idempotency
            && let Some(applied) = self.replay(&turn, ticket, now).await?
        {
            return Ok(Written::Replayed(applied));
        }
        let mut change = command.decide(base, now)?;
        if turn.is_needed(&C::ended(&change, base)).await.map_err(RingFailure::Storage)? {
            return Err(RingFailure::Refused(STILL_NEEDED));
        }
        if let Some(request) = C::settles(&change)
            && !turn.has_request(request).await.map_err(RingFailure::Storage)?
        {
            return Err(DeviceError::NoRequest.into());
        }
        C::seal(&mut change, &self.keychain)?;
        let epoch = Epoch(base.epoch.0 + 1);
        let applied = Applied { subject: C::subject(&change), epoch, at: now };
        let audit = self.audit_record(C::describe(&change), context, epoch, now);
        let mut set = ChangeSet::new(now, context.actor.clone(), audit);
        set.idempotency =
            context.idempotency.as_ref().map(|ticket| remembered(ticket, &applied)).transpose()?;
        C::fill(&change, &mut set);
        let position = turn.commit(&self.keychain, &set).await.map_err(RingFailure::Storage)?;
        Ok(Written::Changed(Arc::new(C::evolve(change, base, position)), applied))
    }

    /// The ring as the database has it, if that is further than `base`.
    pub(super) async fn catch_up(&self, base: &Snapshot) -> Result<Option<Arc<Snapshot>>, RingFailure> {
        let followed = self.database.follow(&self.keychain, &base.position()).await;
        self.caught_up(base, followed.map_err(RingFailure::Storage)?)
    }

    fn caught_up(&self, base: &Snapshot, followed: Followed) -> Result<Option<Arc<Snapshot>>, RingFailure> {
        match followed {
            Followed::Same => Ok(None),
            Followed::Changed(changes) => Ok(Some(Arc::new(base.follow(*changes)))),
            Followed::Whole(loaded) => Ok(Some(Arc::new(snapshot(*loaded, &self.keychain)))),
            Followed::Rewound => Err(RingFailure::Rewound),
        }
    }

    async fn replay<S: DeserializeOwned>(
        &self,
        turn: &Turn,
        ticket: &IdempotencyTicket,
        now: Time,
    ) -> Result<Option<Applied<S>>, RingFailure> {
        let found = turn.find_idempotent(&self.keychain, &ticket.scope, &ticket.key, now).await;
        let Some(record) = found.map_err(RingFailure::Storage)? else { return Ok(None) };
        if record.request_hash != ticket.request_hash {
            return Err(RingFailure::IdempotencyMismatch);
        }
        // An answer of another kind under this key is another request.
        serde_json::from_slice(record.response.expose())
            .map(Some)
            .map_err(|_| RingFailure::IdempotencyMismatch)
    }

    fn audit_record(&self, description: Value, context: &ChangeContext, epoch: Epoch, at: Time) -> Value {
        // The core names what it does; operators look for events.
        let operation = description.get("event").and_then(Value::as_str).unwrap_or(event::OTHER);
        let mut record = json!({
            "ts": at,
            "event": event::event_of(operation),
            "operation": operation,
            "actor": context.actor,
            "actor_id": context.actor_id,
            "request_id": context.request_id,
            "node": self.node,
            "epoch": epoch,
            "outcome": "ok",
        });
        if let (Value::Object(record), Value::Object(description)) = (&mut record, description) {
            record.extend(description.into_iter().filter(|(name, _)| name != "event"));
        }
        record
    }
}

/// The ring that readers see after a load. What is not sound is named in the log.
pub(super) fn snapshot(loaded: LoadedRing, keychain: &Arc<Keychain>) -> Snapshot {
    for row in &loaded.quarantined {
        tracing::error!(key = row.key, version = row.version, finding = row.finding, "row quarantined");
    }
    let ring = Ring::new(loaded.keys, loaded.quarantined);
    Snapshot::new(loaded.position, ring, loaded.access, Arc::clone(keychain))
        .knowing(loaded.devices)
        .held_since(loaded.restored)
        .standing_with(loaded.standing)
}

fn remembered<S: Serialize>(
    ticket: &IdempotencyTicket,
    applied: &Applied<S>,
) -> Result<IdempotencyRecord, RingFailure> {
    let response =
        serde_json::to_vec(applied).map_err(|error| RingFailure::Storage(StoreError::Encoding(error)))?;
    Ok(IdempotencyRecord {
        scope: ticket.scope.clone(),
        key: ticket.key.clone(),
        request_hash: ticket.request_hash,
        response: response.into(),
        created_at: applied.at,
        expires_at: applied.at + TimeDelta::hours(IDEMPOTENCY_HOURS),
    })
}
