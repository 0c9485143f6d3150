//! The actor that tells all subscribers of this node what has happened: it reads each line of the change log once, however many listen.
//! It has a thread of its own, so that no flood of requests delays it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

use actix::prelude::*;
use tokio::sync::{Semaphore, broadcast, watch};

use super::{
    core::{self, Batch, Event},
    figures::Tally,
    line::Place,
    presence::Registry,
};
use crate::{
    cluster::ClusterHandle,
    keyring::{Epoch, KeyRingHandle},
    store::{Database, StoreError},
};

/// Events that wait for a subscriber on this node; one that falls further behind reads the log by itself.
const WAITING: usize = 1_024;
/// Events that are kept for whoever comes back.
const KEPT: usize = 4_096;
/// Bytes of them.
const KEPT_BYTES: usize = 4 << 20;
/// Readings of the log for single subscribers at a time.
const READINGS: usize = 4;
/// Pause before the log is read again after a failure.
const READ_AGAIN: Duration = Duration::from_millis(250);
/// Longest time for one reading.
const READ_MAX: Duration = Duration::from_secs(10);

/// What goes out to all subscribers.
#[derive(Debug, Clone)]
pub(super) enum Told {
    /// A change of the ring.
    Change(Arc<Batch>),
    /// What no log keeps.
    Announced(Arc<Event>),
    /// The log does not lead on from where it was.
    Broken,
}

/// What the actor, its handle and subscriptions know.
pub(super) struct Shared {
    pub(super) ring: KeyRingHandle,
    pub(super) cluster: ClusterHandle,
    pub(super) registry: Registry,
    pub(super) tally: Tally,
    /// Who reads the log for themselves.
    pub(super) readings: Semaphore,
    /// Subscribers that there may still be.
    pub(super) places: Arc<Semaphore>,
    state: Mutex<State>,
}

/// How far the node has told.
pub(super) struct State {
    /// `None` = the node is leaving.
    sender: Option<broadcast::Sender<Told>>,
    /// Everything up to here.
    at: Place,
    /// What was told last.
    recent: VecDeque<Arc<Batch>>,
    recent_bytes: usize,
    recent_events: usize,
    /// Behind this place nothing is missing there.
    recent_from: Place,
}

impl Shared {
    pub(super) fn new(
        (ring, cluster): (KeyRingHandle, ClusterHandle),
        registry: Registry,
        places: usize,
    ) -> Self {
        let at = Place::end_of(ring.position().epoch);
        let state = State {
            sender: Some(broadcast::channel(WAITING).0),
            at,
            recent: VecDeque::new(),
            recent_bytes: 0,
            recent_events: 0,
            recent_from: at,
        };
        Self {
            ring,
            cluster,
            registry,
            tally: Tally::default(),
            readings: Semaphore::new(READINGS),
            places: Arc::new(Semaphore::new(places)),
            state: Mutex::new(state),
        }
    }

    /// Nobody holds it for longer than one telling.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens from now on; answers also with how far was told until now. `None` when the node is leaving.
    pub(super) fn listen(&self) -> Option<(broadcast::Receiver<Told>, Place)> {
        let state = self.state();
        Some((state.sender.as_ref()?.subscribe(), state.at))
    }

    /// How far was told.
    pub(super) fn told(&self) -> Place {
        self.state().at
    }

    /// What was told since a place, if all of it is still at hand; and how far that leads.
    pub(super) fn recent(&self, after: Place) -> Option<(Vec<Arc<Batch>>, Place)> {
        let state = self.state();
        if after < state.recent_from {
            return None;
        }
        let later = state.recent.iter().rev().take_while(|batch| batch.end > after);
        let mut later: Vec<_> = later.cloned().collect();
        later.reverse();
        Some((later, state.at))
    }

    /// Tells everybody who listens here.
    pub(super) fn announce(&self, event: Arc<Event>) {
        let state = self.state();
        if let Some(sender) = &state.sender {
            // Nobody may be listening.
            let _none = sender.send(Told::Announced(event));
        }
    }

    /// Ends all subscriptions; there will be no others.
    pub(super) fn close(&self) {
        self.state().sender = None;
    }

    /// The lines of the log behind a place, as events; `Ok(None)` when it does not lead on from there.
    pub(super) async fn read(
        &self,
        after: Place,
        until: Epoch,
    ) -> Result<Option<(Vec<Batch>, Place)>, StoreError> {
        let question = move |database: Database| async move { database.lines(after, until).await };
        let read = tokio::time::timeout(READ_MAX, self.ring.database().at_home(question)).await;
        let stretch = read.map_err(|_| StoreError::Late)??;
        let read = u64::try_from(stretch.lines.len()).unwrap_or(0);
        self.tally.lines.fetch_add(read, Ordering::Relaxed);
        Ok(core::batches(after, until, &stretch))
    }

    /// Tells what has happened up to where the ring is.
    async fn distribute(&self) {
        loop {
            let until = self.ring.position().epoch;
            let Some(after) = self.due(until) else { return };
            match self.read(after, until).await {
                Ok(Some((batches, at))) => self.tell(batches, at),
                Ok(None) => {
                    tracing::error!(
                        after = after.epoch.0,
                        until = until.0,
                        "the change log has a hole or was touched; subscribers get the whole ring instead"
                    );
                    self.start_anew(until);
                }
                Err(error) => {
                    tracing::warn!(%error, "changes can't be told yet; the change log is read again");
                    tokio::time::sleep(READ_AGAIN).await;
                }
            }
        }
    }

    /// From where the log is to be read; `None` when everything was told, or nobody listens.
    fn due(&self, until: Epoch) -> Option<Place> {
        let mut state = self.state();
        let listeners = state.sender.as_ref().map_or(0, broadcast::Sender::receiver_count);
        if state.at >= Place::end_of(until) {
            return None;
        }
        if listeners == 0 {
            // Whoever comes reads from where they were.
            state.skip_to(until);
            return None;
        }
        if state.at.epoch.incarnation() != until.incarnation() {
            drop(state);
            tracing::warn!("the deployment was restored; subscribers get the whole ring");
            self.start_anew(until);
            return None;
        }
        Some(state.at)
    }

    fn tell(&self, batches: Vec<Batch>, at: Place) {
        let mut state = self.state();
        for batch in batches {
            let batch = Arc::new(batch);
            self.tally.told.fetch_add(u64::try_from(batch.events.len()).unwrap_or(0), Ordering::Relaxed);
            state.remember(&batch);
            if let Some(sender) = &state.sender {
                // The last one may have gone.
                let _none = sender.send(Told::Change(batch));
            }
        }
        state.at = at;
    }

    fn start_anew(&self, until: Epoch) {
        let mut state = self.state();
        state.skip_to(until);
        if let Some(sender) = &state.sender {
            let _none = sender.send(Told::Broken);
        }
    }
}

impl State {
    fn skip_to(&mut self, epoch: Epoch) {
        self.at = Place::end_of(epoch);
        self.recent.clear();
        (self.recent_bytes, self.recent_events) = (0, 0);
        self.recent_from = self.at;
    }

    fn remember(&mut self, batch: &Arc<Batch>) {
        self.recent_bytes += bytes(batch);
        self.recent_events += batch.events.len();
        self.recent.push_back(Arc::clone(batch));
        while self.recent_bytes > KEPT_BYTES || self.recent_events > KEPT {
            let Some(oldest) = self.recent.pop_front() else { break };
            self.recent_bytes -= bytes(&oldest);
            self.recent_events -= oldest.events.len();
            self.recent_from = oldest.end;
        }
    }
}

fn bytes(batch: &Batch) -> usize {
    batch.events.iter().map(|(_, event)| event.payload.len()).sum()
}

pub(super) struct Hub {
    shared: Arc<Shared>,
    changed: watch::Receiver<Epoch>,
}

impl Hub {
    /// Starts it.
    pub(super) fn keep(shared: Arc<Shared>) {
        let changed = shared.ring.changes();
        Self::start_in_arbiter(&Arbiter::new().handle(), |_| Self { shared, changed });
    }
}

impl Actor for Hub {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let (shared, mut changed) = (Arc::clone(&self.shared), self.changed.clone());
        let work = async move {
            loop {
                shared.distribute().await;
                if changed.changed().await.is_err() {
                    return;
                }
            }
        };
        context.spawn(work.into_actor(self));
    }
}
