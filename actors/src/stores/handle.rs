//! The door to the stores.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::TimeDelta;
use claviger_crypto::secret::SecretBytes;
use claviger_entity::{KeyName, Kid, Owner, SecretName};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::{
    core::{self, Condition, Refusal},
    crypt::{self, CryptError},
    item::{About, Item, Place, Revision, Store},
    lease::Lease,
    migration::Migration,
    refused::Refused,
    values::{SEALED_MAX, TokenPair, text_of_bytes},
};
use crate::{
    audit::event,
    clock::{Clock, uptime},
    keyring::{ChangeContext, IdempotencyTicket, KeyRingHandle, Snapshot, Unusable, record::Time},
    store::{Database, Found, IdempotencyRecord, StoreError, StoresTurn},
};

/// How long the outcome of a request with an `Idempotency-Key` is remembered.
const REMEMBERED_HOURS: i64 = 24;
/// How often a change is begun when the key was changed meanwhile.
const TRIES: u32 = 4;

/// Reads and writes what is stored. Cheap to clone.
#[derive(Clone)]
pub struct StoresHandle {
    pub(super) ring: KeyRingHandle,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) node: Arc<str>,
    migration: Arc<Migration>,
    /// Whoever waits for it finds what the one before has found.
    refused: Arc<Mutex<Refused>>,
}

/// A value, open.
#[derive(Clone)]
pub struct Opened {
    /// Its state.
    pub revision: Revision,
    /// The value as it was sealed: see [`Opened::text`] and [`Opened::tokens`].
    value: SecretBytes,
    /// What is in clear.
    pub about: About,
    /// Creation.
    pub created_at: Time,
    /// Last change.
    pub updated_at: Time,
}

impl Opened {
    /// A secret, or an offline token.
    ///
    /// # Errors
    /// It is no text.
    pub fn text(&self) -> Result<zeroize::Zeroizing<String>, StoresFailure> {
        text_of_bytes(&self.value).ok_or(StoresFailure::Damaged)
    }

    /// Tokens of a third party.
    ///
    /// # Errors
    /// They are none.
    pub fn tokens(&self) -> Result<TokenPair, StoresFailure> {
        TokenPair::of_bytes(&self.value).ok_or(StoresFailure::Damaged)
    }
}

/// What a listing says of a value.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Name of the secret.
    pub name: SecretName,
    /// Its state; absent when its row was changed from outside.
    pub revision: Option<Revision>,
    /// What it is for.
    pub description: Option<String>,
    /// Creation.
    pub created_at: Option<Time>,
    /// Last change.
    pub updated_at: Option<Time>,
}

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

/// Why nothing was read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoresFailure {
    /// The row was changed from outside, or is of another release.
    #[error(
        "the row in the database was changed from outside; write the value anew, delete it, or restore the database"
    )]
    Damaged,
    /// The key `stores` can't be used as it is.
    #[error(transparent)]
    Key(Unusable),
    /// Longer than a value may be.
    #[error("a value has at most 65536 bytes")]
    TooLong,
    /// Whoever asked for the change is not accepted any more.
    #[error("the credential is not accepted any more")]
    ActorGone,
    /// Policies have changed since the caller was judged.
    #[error("policies do not permit this any more")]
    NotPermitted,
    /// The `Idempotency-Key` was used for another request.
    #[error("this Idempotency-Key was used for another request; choose a new one")]
    IdempotencyMismatch,
    /// The node is behind, and can't catch up.
    #[error("this node does not know the key that the value is sealed under; try again")]
    Behind,
    /// The database failed, or was too busy.
    #[error("the database did not answer as asked; read the value to see whether a change happened")]
    Storage(#[from] StoreError),
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
    /// A handle on the stores of a ring; begins to migrate rows.
    #[must_use]
    pub fn start(ring: KeyRingHandle, clock: Arc<dyn Clock>, node: &str, pace: super::Pace) -> Self {
        let migration = Migration::start(ring.clone(), pace);
        Self { ring, clock, node: node.into(), migration, refused: Arc::default() }
    }

    /// How far rows are from the present version of the key.
    #[must_use]
    pub fn migration(&self) -> &Migration {
        &self.migration
    }

    /// As [`Self::migration`], with rows counted now.
    ///
    /// # Errors
    /// The database failed.
    pub async fn progress(&self) -> Result<super::Progress, StoresFailure> {
        let kids = super::migration::outdated(&self.ring.snapshot());
        let count = |database: Database| async move {
            Ok((database.stored_under(&kids).await?, database.stored_rows().await?))
        };
        let (pending, rows) = self.ask(count).await?;
        Ok(super::Progress { pending, rows, ..self.migration.progress() })
    }

    /// The value at a place.
    ///
    /// # Errors
    /// See [`StoresFailure`].
    pub async fn read(&self, place: &Place) -> Result<Option<Opened>, StoresFailure> {
        let mut found = self.found(place).await;
        if matches!(&found, Err(StoresFailure::Storage(error)) if error.is_of_the_connection()) {
            // It broke since somebody used it last; another one is made.
            found = self.found(place).await;
        }
        self.opened(place, found?).await
    }

    async fn found(&self, place: &Place) -> Result<Option<Found>, StoresFailure> {
        let (keychain, wanted) = (Arc::clone(self.ring.snapshot().keychain()), place.clone());
        self.ask(|database| async move { database.stored(&keychain, &wanted).await }).await
    }

    /// The values at places, in their order.
    ///
    /// # Errors
    /// See [`StoresFailure`]; what is wrong with one value is said in its place.
    pub async fn read_many(
        &self,
        places: &[Place],
    ) -> Result<Vec<Result<Option<Opened>, StoresFailure>>, StoresFailure> {
        let (keychain, wanted) = (Arc::clone(self.ring.snapshot().keychain()), places.to_vec());
        let found =
            self.ask(|database| async move { database.stored_many(&keychain, &wanted).await }).await?;
        let mut opened = Vec::with_capacity(places.len());
        for (place, found) in places.iter().zip(found) {
            opened.push(self.opened(place, found).await);
        }
        Ok(opened)
    }

    /// A secret as it was in one of the versions that are kept.
    ///
    /// # Errors
    /// See [`StoresFailure`].
    pub async fn read_version(&self, place: &Place, version: u64) -> Result<Option<Opened>, StoresFailure> {
        let (keychain, wanted) = (Arc::clone(self.ring.snapshot().keychain()), place.clone());
        let question =
            |database: Database| async move { database.secret_version(&keychain, &wanted, version).await };
        let found = self.ask(question).await?;
        self.opened(place, found).await
    }

    /// The versions of a secret that are kept, newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn versions(&self, place: &Place) -> Result<Vec<Listed>, StoresFailure> {
        let (keychain, wanted) = (Arc::clone(self.ring.snapshot().keychain()), place.clone());
        let question = |database: Database| async move { database.secret_versions(&keychain, &wanted).await };
        let found = self.ask(question).await?;
        Ok(found.iter().filter_map(|found| listed(place.name(), found)).collect())
    }

    /// Names of secrets of an owner that come after one, in order.
    ///
    /// # Errors
    /// The database failed.
    pub async fn names(
        &self,
        owner: &Owner,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<String>, StoresFailure> {
        let owner = owner.clone();
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        let question =
            |database: Database| async move { database.secret_names(&owner, after.as_deref(), limit).await };
        self.ask(question).await
    }

    /// Secrets of an owner that have these names, by name; never a value. A row is judged with its value, so they are few at a time.
    ///
    /// # Errors
    /// The database failed.
    pub async fn list(&self, owner: &Owner, names: &[String]) -> Result<Vec<Listed>, StoresFailure> {
        let (keychain, owner) = (Arc::clone(self.ring.snapshot().keychain()), owner.clone());
        let names = names.to_vec();
        let question = |database: Database| async move {
            let found = database.secrets_named(&keychain, &owner, &names).await?;
            // The values go here, and not only when somebody has the list.
            Ok(found.iter().filter_map(|(name, found)| listed(name, found)).collect())
        };
        self.ask(question).await
    }

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

    async fn opened(&self, place: &Place, found: Option<Found>) -> Result<Option<Opened>, StoresFailure> {
        let item = match found {
            None => return Ok(None),
            // Another place than the one asked for: the rows were exchanged, and the MAC of neither says so.
            Some(Found::Sound(item)) if item.place == *place => item,
            Some(Found::Sound(_) | Found::Damaged(..)) => return Err(StoresFailure::Damaged),
        };
        let mut value = crypt::open(&self.ring.snapshot(), &item);
        if matches!(value, Err(CryptError::UnknownVersion | CryptError::Unusable(_))) {
            value = self.opened_anew(&item).await?;
        }
        let value = value.map_err(failure)?;
        let revision = item.revision();
        let Item { about, created_at, updated_at, .. } = *item;
        Ok(Some(Opened { revision, value, about, created_at, updated_at }))
    }

    /// Another node may have made the version, or resumed it, a moment ago. Of all who wonder one looks, once a second for each version.
    async fn opened_anew(&self, item: &Item) -> Result<Result<SecretBytes, CryptError>, StoresFailure> {
        let mut refused = self.refused.lock().await;
        let snapshot = self.ring.snapshot();
        let opened = crypt::open(&snapshot, item);
        if opened.is_ok() || refused.knows(&item.kid, snapshot.epoch, uptime()) {
            return Ok(opened);
        }
        drop(snapshot);
        self.catch_up().await?;
        let snapshot = self.ring.snapshot();
        let opened = crypt::open(&snapshot, item);
        if opened.is_err() {
            refused.note(&item.kid, snapshot.epoch, uptime());
        }
        Ok(opened)
    }

    async fn catch_up(&self) -> Result<(), StoresFailure> {
        self.ring.catch_up().await.map_err(|error| {
            tracing::warn!(%error, "the ring can't be read anew");
            StoresFailure::Behind
        })
    }

    pub(super) async fn ask<T, Q>(&self, question: impl FnOnce(Database) -> Q) -> Result<T, StoresFailure>
    where
        T: Send + 'static,
        Q: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        Ok(self.ring.database().at_home(question).await?)
    }
}

fn failure(error: CryptError) -> StoresFailure {
    match error {
        CryptError::Damaged => StoresFailure::Damaged,
        CryptError::UnknownVersion => StoresFailure::Behind,
        CryptError::Unusable(error) => StoresFailure::Key(error),
    }
}

fn listed(name: &str, found: &Found) -> Option<Listed> {
    let item = found.sound();
    Some(Listed {
        name: name.parse().ok()?,
        revision: item.map(Item::revision),
        description: item.and_then(|item| item.about.description.clone()),
        created_at: item.map(|item| item.created_at),
        updated_at: item.map(|item| item.updated_at),
    })
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
