//! The door to the other nodes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use actix::{Actor as _, Addr, Arbiter};
use tokio::sync::{Notify, Semaphore, oneshot, watch};

use super::{
    actor::{Ask, ClusterLink, Shared, Waiting},
    core::{self, Acknowledged, Member},
    figures::Tally,
    hints::Hints,
    listener::Listener,
};
use crate::{
    clock::{Clock as _, ClusterClock},
    keyring::{Epoch, KeyRingHandle},
    masters::Held,
    store::{Database, NodeRow, StoreError},
    tokens::TokensHandle,
};

/// Requests that may wait for one answer of the database; beyond it they are refused.
const WAITING: usize = 4_096;
/// Strong changes whose waiting times are kept.
const BARRIERS_KEPT: usize = 1_000;
/// Longest time that a strong change waits for the other nodes.
const BARRIER_MAX: Duration = Duration::from_secs(1);
/// Longest time for one look at their rows.
const COUNT_MAX: Duration = Duration::from_millis(500);
/// Longest time for a node to take itself out.
const LEAVE_MAX: Duration = Duration::from_secs(3);
/// Pause between two looks at their rows.
const BARRIER_LOOK: Duration = Duration::from_millis(25);
/// Pause between two looks at this node's own requests.
const BARRIER_STEP: Duration = Duration::from_millis(2);

/// Keeps this node in step with the others. Cheap to clone.
#[derive(Clone)]
pub struct ClusterHandle {
    actor: Addr<ClusterLink>,
    permits: Arc<Semaphore>,
    pub(super) shared: Arc<Shared>,
    has_hints: bool,
}

/// The deployment as this node sees it.
#[derive(Debug, Clone)]
pub struct View {
    /// Every node that counts, and those that are gone without a word.
    pub members: Vec<Member>,
    /// Now, by the database's clock, in milliseconds.
    pub now: i64,
    /// When the first change was made that a node may not use yet, by its start.
    pub behind_since: BTreeMap<String, i64>,
}

impl ClusterHandle {
    /// Starts the actor.
    pub(crate) fn start(
        (ring, tokens, held): (KeyRingHandle, TokensHandle, Arc<Held>),
        clock: Arc<ClusterClock>,
        node: NodeRow,
        hints: Option<Hints>,
    ) -> Self {
        let (made, revoked) = (ring.made(), tokens.made());
        let shared = Arc::new(Shared {
            ring,
            tokens,
            held,
            clock,
            node,
            written_seal: (-1).into(),
            draining: false.into(),
            renewed: 0.into(),
            written: 0.into(),
            latency_us: 0.into(),
            alerts: watch::channel(0).0,
            acknowledged: Mutex::default(),
            heard: Notify::new(),
            connected: false.into(),
            tally: Tally::default(),
            longest: 0.into(),
            left: false.into(),
            barriers: Mutex::default(),
        });
        let link = ClusterLink { shared: Arc::clone(&shared), waiting: Vec::new(), asking: false };
        let actor = ClusterLink::start_in_arbiter(&Arbiter::new().handle(), |context| {
            context.set_mailbox_capacity(WAITING);
            link
        });
        let has_hints = hints.is_some();
        if let Some(hints) = hints {
            let (shared, link) = (Arc::clone(&shared), actor.clone());
            Listener::start_in_arbiter(&Arbiter::new().handle(), |_| Listener {
                hints,
                shared,
                link,
                made,
                revoked,
            });
        }
        Self { actor, permits: Arc::new(Semaphore::new(WAITING)), shared, has_hints }
    }

    /// Asks the database where the ring stands and takes in what has changed; several who ask at once share one question. `true` when
    /// that was asked after this call and answered.
    pub async fn refresh(&self) -> bool {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else { return false };
        let (told, answer) = oneshot::channel();
        // Whoever gives up counts among those who wait for as long as the question goes on.
        let answered = Waiting { told, _permit: Some(permit) };
        let asked = self.actor.send(Ask { answered: Some(answered) }).await;
        asked.is_ok() && answer.await.unwrap_or(false)
    }

    /// Tells whenever an alert has changed in the database.
    pub(crate) fn alerts(&self) -> watch::Receiver<i64> {
        self.shared.alerts.subscribe()
    }

    /// Which start of the node this is.
    pub(crate) fn boot_id(&self) -> &str {
        &self.shared.node.boot_id
    }

    /// Requests that wait for an answer of the database.
    pub(super) fn waiting(&self) -> usize {
        WAITING.saturating_sub(self.permits.available_permits())
    }

    /// Several nodes may serve this deployment.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.shared.ring.database().is_shared()
    }

    /// Waits until every live node uses a change, for a bounded time.
    pub async fn barrier(&self, epoch: Epoch) -> Acknowledged {
        let began = Instant::now();
        let acknowledged = self.acknowledged(epoch).await;
        self.shared.tally.barriers.observe(began.elapsed());
        if !acknowledged.lagging.is_empty() {
            self.shared.tally.lagging.fetch_add(1, Ordering::Relaxed);
        }
        let mut barriers = self.shared.barriers.lock().unwrap_or_else(PoisonError::into_inner);
        if barriers.len() >= BARRIERS_KEPT {
            barriers.pop_front();
        }
        barriers.push_back(began.elapsed());
        drop(barriers);
        acknowledged
    }

    /// How long the last strong changes of this node waited: half of them, and all but one in a hundred, no longer than this.
    #[must_use]
    pub fn barriers(&self) -> Option<(Duration, Duration)> {
        let barriers = self.shared.barriers.lock().unwrap_or_else(PoisonError::into_inner);
        core::quantiles(barriers.iter().copied().collect())
    }

    async fn acknowledged(&self, epoch: Epoch) -> Acknowledged {
        let deadline = Instant::now() + BARRIER_MAX;
        loop {
            match self.counted(epoch).await {
                Ok(counted) if counted.lagging.is_empty() || Instant::now() >= deadline => return counted,
                Err(_) if Instant::now() >= deadline => return self.count(epoch).await,
                Ok(_) | Err(_) => {}
            }
            self.wait_for_acknowledgements(epoch, deadline).await;
        }
    }

    /// Waits until it may be worth counting again. With Redis the acknowledgements tell; the rows are read now and then all the same.
    async fn wait_for_acknowledgements(&self, epoch: Epoch, deadline: Instant) {
        let began = Instant::now();
        while Instant::now() < deadline && began.elapsed() < BARRIER_LOOK {
            let heard = self.shared.heard.notified();
            let _late = tokio::time::timeout(BARRIER_STEP, heard).await;
            if self.has_hints && self.shared.ring.settled() >= epoch {
                return;
            }
        }
    }

    /// Redis answers; `None` when there is none.
    #[must_use]
    pub fn redis(&self) -> Option<bool> {
        self.has_hints.then(|| self.shared.connected.load(Ordering::Relaxed))
    }

    /// Entries in Redis that were not true: forged, or of another deployment.
    #[must_use]
    pub fn unfounded_hints(&self) -> u64 {
        self.shared.tally.unfounded.load(Ordering::Relaxed)
    }

    /// Who uses a change now.
    pub async fn count(&self, epoch: Epoch) -> Acknowledged {
        self.counted(epoch).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "nobody can tell which nodes use a change");
            Acknowledged {
                by: Vec::new(),
                lagging: vec![self.shared.node.name.clone()],
                longest: self.shared.longest.load(Ordering::Relaxed).max(self.shared.node.max_staleness),
            }
        })
    }

    async fn counted(&self, epoch: Epoch) -> Result<Acknowledged, StoreError> {
        let mut view = tokio::time::timeout(COUNT_MAX, self.view()).await.map_err(|_| StoreError::Late)??;
        // A node that is shut out serves nobody, and what it says is not believed.
        let snapshot = self.shared.ring.snapshot();
        view.members.retain(|member| !snapshot.standing().bars_node(&member.name));
        drop(snapshot);
        let longest = view.members.iter().map(|member| member.max_staleness).max().unwrap_or(0);
        self.shared.longest.fetch_max(longest, Ordering::Relaxed);
        Ok(core::acknowledged(&view.members, epoch.0, view.now))
    }

    /// The nodes, with this one as it is now.
    ///
    /// # Errors
    /// The database failed.
    pub async fn view(&self) -> Result<View, StoreError> {
        let database = self.shared.ring.database();
        let now = self.shared.clock.now().timestamp_millis();
        let rows = if database.is_shared() {
            database.at_home(|database| async move { database.nodes().await }).await?
        } else {
            Vec::new()
        };
        let mut members: Vec<Member> = rows.into_iter().map(member).collect();
        let own = Member {
            seen_at: now,
            applied: self.shared.ring.settled().0,
            draining: self.shared.draining.load(Ordering::Relaxed),
            seal_revision: Some(self.shared.held.revision()),
            masters: self.shared.held.fingerprints(),
            ..member(self.shared.node.clone())
        };
        for member in &mut members {
            member.applied = member.applied.max(self.shared.acknowledged_by(&member.boot_id));
        }
        match members.iter_mut().find(|member| member.boot_id == own.boot_id) {
            Some(member) => *member = own,
            None => members.push(own),
        }
        Ok(View { members, now, behind_since: BTreeMap::new() })
    }

    /// As [`Self::view`], with how long each node is behind.
    ///
    /// # Errors
    /// The database failed.
    pub async fn view_with_lag(&self) -> Result<View, StoreError> {
        let mut view = self.view().await?;
        let epoch = self.shared.ring.snapshot().epoch.0;
        for member in view.members.iter().filter(|member| member.applied < epoch) {
            let next = Epoch(member.applied.max(epoch & !0xffff_ffff) + 1);
            if let Some(at) = self.changed_at(next).await? {
                view.behind_since.insert(member.boot_id.clone(), at);
            }
        }
        Ok(view)
    }

    async fn changed_at(&self, epoch: Epoch) -> Result<Option<i64>, StoreError> {
        let question = |database: Database| async move { database.changed_at(epoch).await };
        self.shared.ring.database().at_home(question).await
    }

    /// How far the database's clock is ahead of the machine's, in milliseconds.
    #[must_use]
    pub fn clock_offset_ms(&self) -> i64 {
        self.shared.clock.offset_ms()
    }

    /// How far the database's clock as this node knows it may be off, in milliseconds.
    #[must_use]
    pub fn clock_error_ms(&self) -> i64 {
        self.shared.clock.error_ms()
    }

    /// How long the database took for its last answer.
    #[must_use]
    pub fn database_latency(&self) -> Duration {
        Duration::from_micros(self.shared.latency_us.load(Ordering::Relaxed))
    }

    /// Tells the others that this node is leaving; it counts until it has left.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
    }

    /// Takes this node out, once it serves nobody any more.
    pub async fn leave(&self) {
        let database = self.shared.ring.database();
        if !database.is_shared() {
            return;
        }
        self.shared.left.store(true, Ordering::Release);
        // Whoever is asking just now may still enter it again; afterwards nobody does.
        self.refresh().await;
        let left = tokio::time::timeout(LEAVE_MAX, database.leave(&self.shared.node.boot_id)).await;
        if let Err(error) = left.unwrap_or(Err(StoreError::Late)) {
            tracing::warn!(%error, "the node could not take itself out; it counts until it is stale");
        }
    }
}

/// A node by its row.
pub(crate) fn member(row: NodeRow) -> Member {
    Member {
        boot_id: row.boot_id,
        name: row.name,
        version: row.version,
        started_at: row.started_at,
        seen_at: row.seen_at,
        applied: u64::try_from(row.applied_epoch).unwrap_or(0),
        max_staleness: row.max_staleness,
        draining: row.draining,
        seal_revision: row.seal_revision,
        masters: row
            .masters
            .iter()
            .flat_map(|held| held.split_ascii_whitespace())
            .map(str::to_owned)
            .collect(),
    }
}
