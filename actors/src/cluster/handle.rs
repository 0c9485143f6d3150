//! The door to the other nodes.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use actix::{Actor as _, Addr, Arbiter};
use tokio::sync::{Semaphore, oneshot};

use super::{
    actor::{Ask, ClusterLink, Shared},
    core::{self, Acknowledged, Member},
};
use crate::{
    clock::{Clock as _, ClusterClock},
    keyring::{Epoch, KeyRingHandle},
    store::{NodeRow, StoreError},
};

/// Requests that may wait for one answer of the database; beyond it they are refused.
const WAITING: usize = 4_096;
/// Longest time that a strong change waits for the other nodes.
const BARRIER_MAX: Duration = Duration::from_secs(1);
/// Pause between two looks at their rows.
const BARRIER_LOOK: Duration = Duration::from_millis(25);

/// Keeps this node in step with the others. Cheap to clone.
#[derive(Clone)]
pub struct ClusterHandle {
    actor: Addr<ClusterLink>,
    permits: Arc<Semaphore>,
    shared: Arc<Shared>,
}

/// The deployment as this node sees it.
#[derive(Debug, Clone)]
pub struct View {
    /// Every node that counts, and those that are gone without a word.
    pub members: Vec<Member>,
    /// Now, by the database's clock, in milliseconds.
    pub now: i64,
}

impl ClusterHandle {
    /// Starts the actor.
    pub(crate) fn start(ring: KeyRingHandle, clock: Arc<ClusterClock>, node: NodeRow) -> Self {
        let shared = Arc::new(Shared {
            ring,
            clock,
            node,
            draining: false.into(),
            renewed: 0.into(),
            written: 0.into(),
            latency_us: 0.into(),
        });
        let link = ClusterLink { shared: Arc::clone(&shared), waiting: Vec::new(), asking: false };
        let actor = ClusterLink::start_in_arbiter(&Arbiter::new().handle(), |context| {
            context.set_mailbox_capacity(WAITING);
            link
        });
        Self { actor, permits: Arc::new(Semaphore::new(WAITING)), shared }
    }

    /// Asks the database where the ring stands and takes in what has changed; several who ask at once share one question. `true` when
    /// that was asked after this call and answered.
    pub async fn refresh(&self) -> bool {
        let Ok(_permit) = self.permits.try_acquire() else { return false };
        let (answered, answer) = oneshot::channel();
        let asked = self.actor.send(Ask { answered: Some(answered) }).await;
        asked.is_ok() && answer.await.unwrap_or(false)
    }

    /// Several nodes may serve this deployment.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.shared.ring.database().is_shared()
    }

    /// Waits until every live node uses a change, for a bounded time.
    pub async fn barrier(&self, epoch: Epoch) -> Acknowledged {
        let deadline = Instant::now() + BARRIER_MAX;
        loop {
            match self.counted(epoch).await {
                Ok(counted) if counted.lagging.is_empty() || Instant::now() >= deadline => return counted,
                Err(_) if Instant::now() >= deadline => return self.count(epoch).await,
                Ok(_) | Err(_) => tokio::time::sleep(BARRIER_LOOK).await,
            }
        }
    }

    /// Who uses a change now.
    pub async fn count(&self, epoch: Epoch) -> Acknowledged {
        self.counted(epoch).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "nobody can tell which nodes use a change");
            Acknowledged { by: Vec::new(), lagging: vec![self.shared.node.name.clone()] }
        })
    }

    async fn counted(&self, epoch: Epoch) -> Result<Acknowledged, StoreError> {
        let view = self.view().await?;
        Ok(core::acknowledged(&view.members, epoch.0, view.now))
    }

    /// The nodes, with this one as it is now.
    ///
    /// # Errors
    /// The database failed.
    pub async fn view(&self) -> Result<View, StoreError> {
        let database = self.shared.ring.database();
        let now = self.shared.clock.now().timestamp_millis();
        let rows = if database.is_shared() { database.nodes().await? } else { Vec::new() };
        let mut members: Vec<Member> = rows.into_iter().map(member).collect();
        let own = Member {
            seen_at: now,
            applied: self.shared.ring.settled().0,
            draining: self.shared.draining.load(Ordering::Relaxed),
            ..member(self.shared.node.clone())
        };
        match members.iter_mut().find(|member| member.boot_id == own.boot_id) {
            Some(member) => *member = own,
            None => members.push(own),
        }
        Ok(View { members, now })
    }

    /// How far the database's clock is ahead of the machine's, in milliseconds.
    #[must_use]
    pub fn clock_offset_ms(&self) -> i64 {
        self.shared.clock.offset_ms()
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
        if let Err(error) = database.leave(&self.shared.node.boot_id).await {
            tracing::warn!(%error, "the node could not take itself out; it counts until it is stale");
        }
    }
}

fn member(row: NodeRow) -> Member {
    Member {
        boot_id: row.boot_id,
        name: row.name,
        version: row.version,
        started_at: row.started_at,
        seen_at: row.seen_at,
        applied: u64::try_from(row.applied_epoch).unwrap_or(0),
        max_staleness: row.max_staleness,
        draining: row.draining,
    }
}
