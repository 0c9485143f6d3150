//! One change from decision to database: decide, seal, commit. The caller swaps the snapshot once this has returned.

use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::json;

use super::{
    actor::{Applied, ChangeContext, IdempotencyTicket, RingFailure},
    core::{Change, Command, Ring},
    record::Time,
    snapshot::{Epoch, Snapshot},
};
use crate::{
    seal::{Binding, Keychain},
    store::{ChangeSet, Database, IdempotencyRecord, LoadedRing, StoreError, VersionWrite},
};

/// How long an `Idempotency-Key` is remembered.
pub(crate) const IDEMPOTENCY_HOURS: i64 = 24;

pub(super) struct Writer {
    pub(super) database: Database,
    pub(super) keychain: Arc<Keychain>,
    pub(super) node: String,
}

pub(super) enum Written {
    /// The change is in the database; this is the ring after it.
    Changed(Arc<Snapshot>, Applied),
    /// It had been made before, under the same `Idempotency-Key`.
    Replayed(Applied),
}

impl Writer {
    pub(super) async fn write(
        &self,
        base: &Snapshot,
        command: Command,
        context: &ChangeContext,
        now: Time,
    ) -> Result<Written, RingFailure> {
        if let Some(ticket) = &context.idempotency
            && let Some(applied) = self.replay(ticket, now).await?
        {
            return Ok(Written::Replayed(applied));
        }
        let mut change = base.ring().decide(command, now)?;
        self.seal(&mut change)?;
        let epoch = Epoch(base.epoch.0 + 1);
        let applied = Applied { subject: change.subject.clone(), epoch, at: now };
        let set = self.change_set(&change, base.epoch, context, &applied)?;
        self.database.commit(&self.keychain, &set).await.map_err(RingFailure::Storage)?;

        let name = change.key.name.clone();
        let mut ring = base.ring().clone();
        ring.evolve(change);
        Ok(Written::Changed(Arc::new(base.succeed(epoch, ring, &name)), applied))
    }

    /// Reads the whole ring anew.
    pub(super) async fn reload(&self) -> Result<Snapshot, RingFailure> {
        let loaded = self.database.load_ring(&self.keychain).await.map_err(RingFailure::Storage)?;
        Ok(snapshot(loaded, &self.keychain))
    }

    async fn replay(&self, ticket: &IdempotencyTicket, now: Time) -> Result<Option<Applied>, RingFailure> {
        let found = self.database.find_idempotent(&self.keychain, &ticket.scope, &ticket.key, now).await;
        let Some(record) = found.map_err(RingFailure::Storage)? else { return Ok(None) };
        if record.request_hash != ticket.request_hash {
            return Err(RingFailure::IdempotencyMismatch);
        }
        // An answer of another kind under this key is another request.
        serde_json::from_slice(record.response.expose())
            .map(Some)
            .map_err(|_| RingFailure::IdempotencyMismatch)
    }

    fn seal(&self, change: &mut Change) -> Result<(), RingFailure> {
        for new in &mut change.inserted {
            let binding = Binding::material(
                self.keychain.deployment(),
                change.key.id,
                new.record.version,
                change.key.key_type,
            );
            let (dek_id, sealed) =
                self.keychain.seal(&binding, &new.secret).map_err(|_| RingFailure::Seal)?;
            new.record.dek_id = dek_id;
            new.record.sealed = Some(Arc::from(sealed));
        }
        Ok(())
    }

    fn change_set(
        &self,
        change: &Change,
        before: Epoch,
        context: &ChangeContext,
        applied: &Applied,
    ) -> Result<ChangeSet, RingFailure> {
        let inserted = change.inserted.iter().map(|new| (&new.record, true));
        let updated = change.updated.iter().map(|version| (version, false));
        let versions = inserted.chain(updated).map(|(record, is_new)| VersionWrite {
            key_id: change.key.id,
            record: record.clone(),
            is_new,
        });
        Ok(ChangeSet {
            before,
            key: Some((change.key.clone(), change.is_new)),
            versions: versions.collect(),
            principals: Vec::new(),
            events: change.events.clone(),
            audit: self.audit_record(change, context, applied),
            at: applied.at,
            actor: context.actor.clone(),
            idempotency: context
                .idempotency
                .as_ref()
                .map(|ticket| remembered(ticket, applied))
                .transpose()?,
        })
    }

    fn audit_record(&self, change: &Change, context: &ChangeContext, applied: &Applied) -> serde_json::Value {
        json!({
            "ts": applied.at,
            "event": change.events.first().map(|event| event.kind),
            "actor": context.actor,
            "key": applied.subject.name,
            "version": applied.subject.version,
            "kid": applied.subject.kid,
            "request_id": context.request_id,
            "node": self.node,
            "epoch": applied.epoch,
        })
    }
}

/// The ring that readers see after a load.
pub(super) fn snapshot(loaded: LoadedRing, keychain: &Arc<Keychain>) -> Snapshot {
    let ring = Ring::new(loaded.keys, loaded.quarantined);
    Snapshot::new(loaded.epoch, ring, loaded.principals, Arc::clone(keychain))
}

fn remembered(ticket: &IdempotencyTicket, applied: &Applied) -> Result<IdempotencyRecord, RingFailure> {
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
