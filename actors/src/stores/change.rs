//! Changes of what is stored: one transaction each, with their record and the outcome for a retry.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::TimeDelta;
use claviger_crypto::secret::SecretBytes;
use claviger_entity::{KeyName, Kid};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::{
    core::{self, Condition, Refusal},
    crypt,
    handle::{StoresFailure, StoresHandle, failure},
    item::{About, Item, Place, Revision, Store},
    lease::Lease,
    values::SEALED_MAX,
};
use crate::{
    audit::event,
    keyring::{ChangeContext, IdempotencyTicket, Snapshot, record::Time},
    store::{Database, Found, IdempotencyRecord, StoreError, StoresTurn},
};

/// How long the outcome of a request with an `Idempotency-Key` is remembered.
const REMEMBERED_HOURS: i64 = 24;
/// How often a change is begun when the key was changed meanwhile.
const TRIES: u32 = 4;

/// What is to happen to one place.
pub struct Change {
    /// Where.
    pub place: Place,
    /// On what condition.
    pub condition: Condition,
    /// What.
    pub write: Write,
}

/// What is to happen.
pub enum Write {
    /// A value is put there.
    Put(SecretBytes, About),
    /// It goes, with its history.
    Delete,
}

/// A change that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The state afterwards; of a deletion, the one that was deleted.
    pub revision: Option<Revision>,
    /// There was nothing before.
    pub is_new: bool,
    /// When the value was created; of a deletion, when it was deleted.
    pub created_at: Time,
    /// When.
    pub at: Time,
}

/// What came of one change.
pub type Outcome = Result<Done, Refusal>;

/// What a request wants to have on record about its changes.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The operation, by the name of its permission.
    pub operation: &'static str,
    /// Several changes at once: they are counted, not named.
    pub is_batch: bool,
    /// Who asks.
    pub context: &'a ChangeContext,
    /// Whether the caller still may, asked again for each place of a batch: the door knows none of them.
    pub still_may: Option<&'a StillMayAt>,
    /// Versions of keys that the values were opened with, as another system had kept them.
    pub opened_with: &'a [(KeyName, Kid)],
    /// The lease under which tokens end: nothing is changed once another one was given.
    pub lease: Option<&'a Lease>,
}

/// Whether somebody may do something at a place, by a ring.
pub type AskAt = dyn Fn(&Snapshot, &Place) -> bool + Send + Sync;

/// A judgement about places that can be made again.
#[derive(Clone)]
pub struct StillMayAt {
    /// Revision of the policies and labels that it was made by.
    pub revision: u64,
    /// The same question to another ring.
    pub ask: Arc<AskAt>,
}

impl std::fmt::Debug for StillMayAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StillMayAt").field("revision", &self.revision).finish_non_exhaustive()
    }
}

/// As [`Wanted`], for a transaction that runs elsewhere.
struct Asked {
    operation: &'static str,
    is_batch: bool,
    context: ChangeContext,
    still_may: Option<StillMayAt>,
    opened_with: Vec<(KeyName, Kid)>,
    lease: Option<Lease>,
    /// Each with the number that the caller knows it by.
    changes: Vec<(usize, Change)>,
}

impl Asked {
    /// Whether the caller still may, by the ring as it is now: it may have changed while this waited.
    fn judge(&self, snapshot: &Snapshot, now: Time) -> Result<(), StoresFailure> {
        if !snapshot.accepts(&self.context, now) {
            return Err(StoresFailure::ActorGone);
        }
        match &self.context.still_may {
            Some(judged) if judged.revision != snapshot.access_revision() && !(judged.ask)(snapshot) => {
                Err(StoresFailure::NotPermitted)
            }
            Some(_) | None => Ok(()),
        }
    }

    fn may_at(&self, snapshot: &Snapshot, place: &Place) -> bool {
        self.still_may.as_ref().is_none_or(|judged| {
            judged.revision == snapshot.access_revision() || (judged.ask)(snapshot, place)
        })
    }
}

/// Why a change has to begin anew, or not at all.
enum Stop {
    /// The key has changed.
    Behind,
    Failed(StoresFailure),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl StoresHandle {
    /// Makes one change.
    ///
    /// # Errors
    /// See [`Self::change`].
    pub async fn change_one(
        &self,
        wanted: Wanted<'_>,
        change: Change,
    ) -> Result<Option<Outcome>, StoresFailure> {
        Ok(self.change(wanted, vec![(0, change)]).await?.remove(&0))
    }

    /// What came of the change that was made under an `Idempotency-Key`, if it was made.
    ///
    /// # Errors
    /// The key was used for another request, or the database failed.
    pub async fn outcome(&self, ticket: &IdempotencyTicket) -> Result<Option<Outcome>, StoresFailure> {
        let kept = self.ring.kept_answer(&ticket.scope, &ticket.key, self.clock.now()).await?;
        let Some(kept) = kept else { return Ok(None) };
        Ok(kept_outcomes(&kept, ticket)?.remove(&0))
    }

    /// Makes changes, in one transaction with their record and the outcome for a retry. What one place refuses does not keep the others
    /// from theirs. Each has a number of the caller's; on a retry the outcomes are those of the first time, so that one may be missing.
    ///
    /// # Errors
    /// See [`StoresFailure`]: nothing was changed, unless the database did not say.
    pub async fn change(
        &self,
        wanted: Wanted<'_>,
        changes: Vec<(usize, Change)>,
    ) -> Result<BTreeMap<usize, Outcome>, StoresFailure> {
        let is_long =
            |change: &Change| matches!(&change.write, Write::Put(value, _) if value.len() > SEALED_MAX);
        if changes.iter().any(|(_, change)| is_long(change)) {
            return Err(StoresFailure::TooLong);
        }
        let asked = Arc::new(Asked {
            operation: wanted.operation,
            is_batch: wanted.is_batch,
            context: wanted.context.clone(),
            still_may: wanted.still_may.cloned(),
            opened_with: wanted.opened_with.to_vec(),
            lease: wanted.lease.copied(),
            changes,
        });
        let is_retried = asked.context.idempotency.is_some();
        for _ in 0..TRIES {
            let (this, asked) = (self.clone(), Arc::clone(&asked));
            let attempt = |database: Database| async move {
                let turn = database.take_stores_turn().await?;
                Ok(this.attempt(turn, &asked).await)
            };
            match self.ring.database().at_home(attempt).await {
                Ok(Ok(outcomes)) => return Ok(outcomes),
                // Another node has changed the key, or another request was in the way.
                Ok(Err(Stop::Behind)) => self.catch_up().await?,
                Ok(Err(Stop::Failed(StoresFailure::Storage(error)))) | Err(error)
                    // The same request came twice at once: the other one's outcome is there now.
                    if error.is_passing() || is_retried && error.is_about_the_rows() => {}
                Ok(Err(Stop::Failed(failure))) => return Err(failure),
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoresFailure::Behind)
    }

    async fn attempt(&self, turn: StoresTurn, asked: &Asked) -> Result<BTreeMap<usize, Outcome>, Stop> {
        // After the wait for the turn, which may have been long.
        let now = self.clock.now();
        let snapshot = self.ring.snapshot();
        asked.judge(&snapshot, now).map_err(Stop::Failed)?;
        let keychain = Arc::clone(snapshot.keychain());
        if let Some(ticket) = &asked.context.idempotency {
            let kept = turn.find_idempotent(&keychain, (&ticket.scope, &ticket.key), now).await?;
            if let Some(kept) = kept {
                return kept_outcomes(&kept, ticket).map_err(Stop::Failed);
            }
        }
        let key = snapshot.ring().key(&KeyName::stores());
        let key = key.map_err(|error| Stop::Failed(StoresFailure::Key(error.into())))?;
        if key.record.revision != turn.key_revision {
            return Err(Stop::Behind);
        }
        // Whoever locks several rows does so in the order of their places, so that no two wait for each other.
        let mut order: Vec<&(usize, Change)> = asked.changes.iter().collect();
        order.sort_by_key(|(_, change)| &change.place);
        let mut outcomes = BTreeMap::new();
        for (number, change) in order {
            let outcome = if asked.may_at(&snapshot, &change.place) {
                carry_out(&turn, &snapshot, change, now).await?
            } else {
                Err(Refusal::NotPermitted)
            };
            outcomes.insert(*number, outcome);
        }
        if !leased(&turn, asked, &outcomes).await? {
            // Nothing of it is committed.
            return Ok(outcomes.into_keys().map(|number| (number, Err(Refusal::Precondition))).collect());
        }
        if let Some(record) = remembered(&asked.context, &outcomes, now) {
            turn.remember(&keychain, &record).await?;
        }
        let is_changed = outcomes.values().any(Result::is_ok);
        let record = is_changed.then(|| self.record(asked, &outcomes, &snapshot, now));
        drop(snapshot);
        turn.commit(record).await?;
        Ok(outcomes)
    }

    /// What the transaction puts on record. An owner is shown by a hash: it may name a person.
    fn record(
        &self,
        asked: &Asked,
        outcomes: &BTreeMap<usize, Outcome>,
        snapshot: &Snapshot,
        now: Time,
    ) -> String {
        let Asked { operation, is_batch, context, changes, opened_with, .. } = asked;
        let first = changes.first().filter(|_| !is_batch).map(|(_, change)| &change.place);
        let owner = first.and_then(|place| snapshot.audit_hash(place.owner().as_str()));
        let failed = outcomes.values().filter(|outcome| outcome.is_err()).count();
        let keys: BTreeSet<&str> = opened_with.iter().map(|(key, _)| key.as_str()).collect();
        let kids: Vec<&str> = opened_with.iter().map(|(_, kid)| kid.as_str()).collect();
        let mut record = json!({
            "ts": now,
            "event": event::event_of(operation),
            "operation": operation,
            "actor": context.actor,
            "actor_id": context.actor_id,
            "owner": owner,
            "item": first.map(Place::name).filter(|name| !name.is_empty()),
            "key": keys.first().filter(|_| keys.len() == 1),
            "keys": (keys.len() > 1).then_some(&keys),
            "kid": kids.first().filter(|_| kids.len() == 1),
            "kids": (kids.len() > 1).then_some(&kids),
            "count": is_batch.then_some(changes.len()),
            "failed": is_batch.then_some(failed),
            "request_id": context.request_id,
            "node": &*self.node,
            "epoch": snapshot.epoch,
            "outcome": "ok",
        });
        if let Some(record) = record.as_object_mut() {
            record.retain(|_, value| !value.is_null());
        }
        record.to_string()
    }
}

/// Settles the leases of tokens that were changed, after their rows are locked: everybody locks in this order. `false` when the change was
/// to be made under a lease that is not the last one.
async fn leased(
    turn: &StoresTurn,
    asked: &Asked,
    outcomes: &BTreeMap<usize, Outcome>,
) -> Result<bool, StoreError> {
    if let Some(lease) = &asked.lease {
        return Ok(!outcomes.values().any(Result::is_ok) || turn.end_lease(lease).await?);
    }
    for (number, change) in &asked.changes {
        let revision = match outcomes.get(number) {
            Some(Ok(Done { revision: Some(revision), is_new: false, .. })) => revision,
            Some(_) | None => continue,
        };
        if change.place.store() == Store::AuthTokens {
            turn.forget_lease(revision.id).await?;
        }
    }
    Ok(true)
}

/// One change, within its transaction.
async fn carry_out(
    turn: &StoresTurn,
    snapshot: &Snapshot,
    change: &Change,
    now: Time,
) -> Result<Outcome, Stop> {
    let keychain = snapshot.keychain();
    loop {
        let found = turn.find(keychain, &change.place).await?;
        let current = found.as_ref().and_then(Found::sound).map(Item::revision);
        if let Err(refusal) = core::judge(&change.condition, found.is_some(), current.as_ref()) {
            return Ok(Err(refusal));
        }
        let (value, about) = match &change.write {
            Write::Put(value, about) => (value, about),
            Write::Delete if found.is_none() => return Ok(Err(Refusal::Missing)),
            Write::Delete => {
                turn.remove(&change.place).await?;
                return Ok(Ok(Done { revision: current, is_new: false, created_at: now, at: now }));
            }
        };
        let before = found.as_ref().and_then(Found::sound);
        let version = match &found {
            // Its number is whatever somebody wrote there.
            Some(Found::Damaged(..)) => turn.cut_history(keychain, &change.place).await?,
            Some(Found::Sound(item)) => Some(item.version),
            None => Some(0),
        };
        // The database counts in signed numbers.
        let version =
            version.and_then(|version| version.checked_add(1)).filter(|next| i64::try_from(*next).is_ok());
        let version = version.ok_or(Stop::Failed(StoresFailure::Damaged))?;
        // A row that was damaged does not give its identity on: nobody knows whose it is.
        let id = before.map_or_else(Uuid::now_v7, |item| item.id);
        let created_at = before.map_or(now, |item| item.created_at);
        let times = (about.clone(), created_at, now);
        let revision = Revision { id, version };
        let item = crypt::seal(snapshot, (change.place.clone(), revision), value, times);
        let item = item.map_err(|error| Stop::Failed(failure(error)))?;
        let done = Done { revision: Some(revision), is_new: found.is_none(), created_at, at: now };
        match &found {
            Some(before) => turn.replace(keychain, before, item).await?,
            // Somebody else was first after all; what they wrote is seen now.
            None if !turn.insert(keychain, item).await? => continue,
            None => {}
        }
        return Ok(Ok(done));
    }
}

fn kept_outcomes(
    kept: &IdempotencyRecord,
    ticket: &IdempotencyTicket,
) -> Result<BTreeMap<usize, Outcome>, StoresFailure> {
    let outcomes = serde_json::from_slice(kept.response.expose()).ok();
    let is_same = kept.request_hash == ticket.request_hash;
    outcomes.filter(|_| is_same).ok_or(StoresFailure::IdempotencyMismatch)
}

fn remembered(
    context: &ChangeContext,
    outcomes: &BTreeMap<usize, Outcome>,
    now: Time,
) -> Option<IdempotencyRecord> {
    let ticket = context.idempotency.as_ref()?;
    Some(IdempotencyRecord {
        scope: ticket.scope.clone(),
        key: ticket.key.clone(),
        request_hash: ticket.request_hash,
        response: serde_json::to_vec(outcomes).ok()?.into(),
        created_at: now,
        expires_at: now + TimeDelta::hours(REMEMBERED_HOURS),
    })
}
