//! The door to the key ring.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use actix::Addr;
use arc_swap::{ArcSwap, Guard};
use claviger_crypto::material::Material;
use claviger_entity::{HumanDuration, KeyName, VersionNumber};
use tokio::sync::{Semaphore, watch};

use super::{
    actor::{Applied, Apply, Board, ChangeContext, KeyRing, Older, RingFailure},
    command::{Release, RingCommand},
    core::{Command, CreateKey, ImportKey, Imported, RingError, Rotate, Transition, UpdateKey, Use},
    figures::Tally,
    forge::{Forge, ForgeError},
    internal,
    snapshot::{Epoch, Position, Snapshot},
    writer::Writer,
};
use crate::{
    clock::Clock,
    incidents::{InIncident, StepRecord},
    keyring::record::Time,
    store::{Database, IdempotencyRecord, StoreError},
};

/// Longest time for what is written at the very end.
const CLOSE_MAX: Duration = Duration::from_secs(3);
/// How many changes may wait for the one writer; beyond it callers are refused.
pub(super) const WAITING_CHANGES: usize = 1_024;
/// How many pairing requests of a node may be on their way to the database: nobody's work waits behind more of them.
const WAITING_REQUESTS: usize = 8;

/// Reads the ring without waiting and asks for its changes. Cheap to clone.
#[derive(Clone)]
pub struct KeyRingHandle {
    actor: Addr<KeyRing>,
    board: Arc<Board>,
    changed: watch::Receiver<Epoch>,
    made: watch::Receiver<Epoch>,
    pub(super) permits: Arc<Semaphore>,
    /// Pairing requests on their way to the database.
    pub(super) pairing: Arc<Semaphore>,
    node: Arc<str>,
    pub(super) tally: Arc<Tally>,
    forge: Forge,
    database: Database,
}

impl KeyRingHandle {
    /// Starts the actor on an arbiter of its own, so that no request can hold it up.
    pub(super) fn start(writer: Writer, snapshot: Arc<Snapshot>, clock: Arc<dyn Clock>) -> Self {
        use actix::{Actor as _, Arbiter};
        let (sender, changed) = watch::channel(snapshot.epoch);
        let (making, made) = watch::channel(snapshot.epoch);
        let (database, node) = (writer.database.clone(), writer.node.as_str().into());
        let tally = Arc::<Tally>::default();
        let board = Arc::new(Board {
            writer,
            published: ArcSwap::new(snapshot),
            changed: sender,
            older: Older::default(),
            rewound: AtomicBool::new(false),
            exchanging: Mutex::default(),
        });
        let ring = KeyRing { board: Arc::clone(&board), made: making, clock, tally: Arc::clone(&tally) };
        let actor = KeyRing::start_in_arbiter(&Arbiter::new().handle(), |context| {
            context.set_mailbox_capacity(WAITING_CHANGES);
            ring
        });
        let permits = Arc::new(Semaphore::new(WAITING_CHANGES));
        Self {
            actor,
            board,
            changed,
            made,
            permits,
            pairing: Arc::new(Semaphore::new(WAITING_REQUESTS)),
            node,
            tally,
            forge: Forge::new(),
            database,
        }
    }

    /// The ring as it is now. Load it once per request.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.board.published.load_full()
    }

    /// The same, for a look that does not wait: nothing that other threads touch too is written to for it.
    #[must_use]
    pub fn look(&self) -> Guard<Arc<Snapshot>> {
        self.board.published.load()
    }

    /// Where in history the ring is now; for a look that holds nothing.
    #[must_use]
    pub fn position(&self) -> Position {
        self.board.published.load().position()
    }

    /// An incident shuts out a node of this name; for a look that holds nothing.
    #[must_use]
    pub fn shuts_out(&self, node: &str) -> bool {
        self.board.published.load().standing().bars_node(node)
    }

    /// The ring had at this uptime what the database had.
    pub(crate) fn confirm(&self, uptime: Duration) {
        self.board.confirm(uptime);
    }

    /// Tells whenever the ring has changed.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Epoch> {
        self.changed.clone()
    }

    /// Tells of changes that this node has made itself.
    #[must_use]
    pub(crate) fn made(&self) -> watch::Receiver<Epoch> {
        self.made.clone()
    }

    /// Asks the database for a sign of life.
    ///
    /// # Errors
    /// It gives none.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.database.at_home(|database| async move { database.ping().await }).await
    }

    /// A new key.
    ///
    /// # Errors
    /// See [`RingFailure`].
    pub async fn create(&self, context: ChangeContext, spec: CreateKey) -> Result<Applied, RingFailure> {
        let mut materials = vec![self.forge.make(spec.key_type, spec.bits).await?];
        if spec.temporary.is_none() && !internal::is_fixed(&spec.name, spec.key_type) {
            materials.push(self.forge.make(spec.key_type, spec.bits).await?);
        }
        self.apply(context, Command::Create(Box::new(spec), materials)).await
    }

    /// A key from material of elsewhere.
    ///
    /// # Errors
    /// See [`RingFailure`].
    pub async fn import(
        &self,
        context: ChangeContext,
        key: CreateKey,
        imported: Imported,
    ) -> Result<Applied, RingFailure> {
        let (key_type, bits) = (key.key_type, key.bits);
        let mut spares = Vec::new();
        if !imported.may_produce {
            spares.push(self.forge.make(key_type, bits).await?);
        }
        spares.push(self.forge.make(key_type, bits).await?);
        self.apply(context, Command::Import(Box::new(ImportKey { key, imported, spares }))).await
    }

    /// Changes settings.
    ///
    /// # Errors
    /// See [`RingFailure`].
    pub async fn update(&self, context: ChangeContext, update: UpdateKey) -> Result<Applied, RingFailure> {
        self.apply(context, Command::Update(update)).await
    }

    /// Replaces the primary by the standby.
    ///
    /// # Errors
    /// See [`RingFailure`].
    pub async fn rotate(&self, context: ChangeContext, rotate: Rotate) -> Result<Applied, RingFailure> {
        let spare = self.spare(&rotate).await?;
        self.apply(context, Command::Rotate(rotate, spare.map(Box::new))).await
    }

    /// Material that a rotation may need.
    async fn spare(&self, rotate: &Rotate) -> Result<Option<Material>, RingFailure> {
        let (key_type, bits, has_standby) = self.shape(&rotate.name)?;
        // Only a forced rotation may find no standby; then its material is made on the path.
        if rotate.force && !has_standby {
            return Ok(Some(self.forge.make(key_type, bits).await?));
        }
        Ok(self.forge.spare(key_type, bits).await?)
    }

    /// Changes the state of one version.
    ///
    /// # Errors
    /// See [`RingFailure`].
    pub async fn transition(
        &self,
        context: ChangeContext,
        transition: Transition,
    ) -> Result<Applied, RingFailure> {
        let spares = self.spares(&transition).await?;
        self.apply(context, Command::Transition(transition, spares)).await
    }

    /// The same, as a step of an incident.
    ///
    /// # Errors
    /// See [`RingFailure`].
    pub(crate) async fn transition_in(
        &self,
        context: ChangeContext,
        transition: Transition,
        step: StepRecord,
    ) -> Result<Applied, RingFailure> {
        let spares = self.spares(&transition).await?;
        let command = Command::Transition(transition, spares);
        self.apply(context, InIncident { command, step }).await
    }

    /// Replaces the primary by the standby, as a step of an incident.
    ///
    /// # Errors
    /// See [`RingFailure`].
    pub(crate) async fn rotate_in(
        &self,
        context: ChangeContext,
        rotate: Rotate,
        step: StepRecord,
    ) -> Result<Applied, RingFailure> {
        let spare = self.spare(&rotate).await?;
        let command = Command::Rotate(rotate, spare.map(Box::new));
        self.apply(context, InIncident { command, step }).await
    }

    /// Material that a change of state may need.
    async fn spares(&self, transition: &Transition) -> Result<Vec<Material>, RingFailure> {
        use super::core::{Exposure, TransitionKind};
        let (key_type, bits, has_standby) = self.shape(&transition.name)?;
        let mut spares = Vec::new();
        let standby_goes = transition.kind == TransitionKind::Compromise(Exposure::Store);
        match transition.kind {
            TransitionKind::Suspend | TransitionKind::Compromise(_) => {
                if standby_goes || !has_standby {
                    spares.push(self.forge.make(key_type, bits).await?);
                }
                spares.extend(self.forge.spare(key_type, bits).await?);
            }
            TransitionKind::Resume | TransitionKind::Destroy => {}
        }
        Ok(spares)
    }

    /// Schedules the destruction of a key.
    ///
    /// # Errors
    /// See [`RingFailure`].
    pub async fn schedule_deletion(
        &self,
        context: ChangeContext,
        name: KeyName,
        after: HumanDuration,
    ) -> Result<Applied, RingFailure> {
        self.apply(context, Command::ScheduleDeletion { name, after }).await
    }

    /// Cancels a scheduled destruction.
    ///
    /// # Errors
    /// See [`RingFailure`].
    pub async fn restore(&self, context: ChangeContext, name: KeyName) -> Result<Applied, RingFailure> {
        self.apply(context, Command::Restore { name }).await
    }

    /// A deployment that was restored from a backup serves as usual from now on.
    ///
    /// # Errors
    /// See [`RingFailure`].
    pub async fn release(&self, context: ChangeContext) -> Result<Applied<()>, RingFailure> {
        self.apply(context, Release).await
    }

    /// Counts a use of a temporary key; refused when there is none left.
    ///
    /// # Errors
    /// See [`RingFailure`].
    pub async fn consume(
        &self,
        context: ChangeContext,
        name: KeyName,
        version: VersionNumber,
        what: Use,
    ) -> Result<Applied, RingFailure> {
        self.apply(context, Command::Consume { name, version, what }).await
    }

    /// Gives a key the standby that it lacks.
    pub(crate) async fn replenish(
        &self,
        context: ChangeContext,
        name: KeyName,
    ) -> Result<Applied, RingFailure> {
        let (key_type, bits, _) = self.shape(&name)?;
        let spare = Box::new(self.forge.make(key_type, bits).await?);
        self.apply(context, Command::Replenish { name, spare }).await
    }

    /// Runs a command that needs no material.
    pub(crate) async fn apply<C: RingCommand>(
        &self,
        context: ChangeContext,
        command: C,
    ) -> Result<Applied<C::Subject>, RingFailure> {
        let _permit = self.permits.try_acquire().map_err(|_| RingFailure::Overloaded)?;
        let asked = Instant::now();
        let answer = self.actor.send(Apply { command, context, asked }).await;
        self.tally.changes.observe(asked.elapsed());
        answer.map_err(|_| RingFailure::Stopped)?
    }

    /// Looks whether others have changed the ring, and takes that in.
    ///
    /// # Errors
    /// The database failed, or was rewound.
    pub async fn catch_up(&self) -> Result<(), RingFailure> {
        self.board.catch_up().await
    }

    /// The epoch that no request of this node is behind.
    #[must_use]
    pub fn settled(&self) -> Epoch {
        // In this order: what is swapped in between counts as older.
        let now = self.snapshot().epoch;
        self.board.older.oldest().map_or(now, |oldest| oldest.min(now))
    }

    /// The database has lost the history that this node knows; nothing may be served from either.
    #[must_use]
    pub fn is_rewound(&self) -> bool {
        self.board.rewound.load(Ordering::Acquire)
    }

    /// The answer that was given under an `Idempotency-Key`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn kept_answer(
        &self,
        scope: &str,
        key: &str,
        now: Time,
    ) -> Result<Option<IdempotencyRecord>, StoreError> {
        let keychain = Arc::clone(self.snapshot().keychain());
        let (scope, key) = (scope.to_owned(), key.to_owned());
        let question =
            |database: Database| async move { database.find_idempotent(&keychain, &scope, &key, now).await };
        self.database.at_home(question).await
    }

    /// Keeps an answer for a retry.
    ///
    /// # Errors
    /// There is one already, or the database failed.
    pub async fn keep_answer(&self, record: IdempotencyRecord) -> Result<(), StoreError> {
        let keychain = Arc::clone(self.snapshot().keychain());
        let question = |database: Database| async move { database.remember(&keychain, &record).await };
        self.database.at_home(question).await
    }

    /// Takes it upon this node to make the backup of a moment of the schedule; `false` when another one makes it, or has.
    ///
    /// # Errors
    /// The database failed.
    pub async fn claim_backup(&self, slot: Time, now: Time) -> Result<bool, StoreError> {
        let (keychain, node) = (Arc::clone(self.snapshot().keychain()), Arc::clone(&self.node));
        let question = move |database: Database| async move {
            database.claim_backup(&keychain, (slot, &node), now).await
        };
        self.database.at_home(question).await
    }

    /// Takes down that the backup of a moment is where it should be.
    ///
    /// # Errors
    /// The database failed.
    pub async fn finish_backup(
        &self,
        times: (Time, Time),
        made: (Epoch, u64, u64),
    ) -> Result<(), StoreError> {
        let keychain = Arc::clone(self.snapshot().keychain());
        self.database
            .at_home(
                move |database: Database| async move { database.finish_backup(&keychain, times, made).await },
            )
            .await
    }

    /// When the last backup by the schedule was finished on whatever node, in milliseconds.
    ///
    /// # Errors
    /// The database failed.
    pub async fn last_backup(&self) -> Result<Option<i64>, StoreError> {
        let keychain = Arc::clone(self.snapshot().keychain());
        self.database
            .at_home(move |database: Database| async move { database.last_backup(&keychain).await })
            .await
    }

    /// Name of this node.
    pub(super) fn node(&self) -> &str {
        &self.node
    }

    /// The store, for what lives beside the ring.
    pub(crate) const fn database(&self) -> &Database {
        &self.database
    }

    /// Closes the database in order. Changes asked for afterwards fail.
    pub async fn close(&self) {
        let noted = tokio::time::timeout(CLOSE_MAX, self.record_uses()).await;
        if let Err(error) = noted.unwrap_or(Err(StoreError::Late)) {
            tracing::warn!(%error, "last uses of API keys were not written");
        }
        let closed = tokio::time::timeout(CLOSE_MAX, self.database.clone().close()).await;
        if closed.is_err() {
            tracing::warn!("the database was not closed in time");
        }
    }

    fn shape(&self, name: &KeyName) -> Result<(claviger_entity::KeyType, Option<u32>, bool), RingError> {
        let snapshot = self.snapshot();
        // Our own too: no caller can name one, and the schedule replaces them.
        let key = snapshot.ring().key(name)?;
        Ok((key.record.key_type, key.record.bits, key.standby().is_some()))
    }
}

impl From<ForgeError> for RingFailure {
    fn from(error: ForgeError) -> Self {
        match error {
            ForgeError::Busy => Self::Overloaded,
            ForgeError::Material(error) => Self::Material(error),
            ForgeError::Interrupted => Self::Stopped,
        }
    }
}
