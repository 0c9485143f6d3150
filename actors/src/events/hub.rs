//! The actor that tells all subscribers of this node what has happened: it reads each line of the change log once, however many listen.
//! It has a thread of its own, so that no flood of requests delays it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

use actix::prelude::*;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};

use super::{
    core::{self, Batch, Event},
    figures::Tally,
    line::{Mark, Place, Tag},
    presence::Registry,
    sync::Syncs,
};
use crate::{
    cluster::ClusterHandle,
    keyring::{Epoch, KeyRingHandle, Position},
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
/// Changes whose history is remembered for whoever comes back.
const TAGS_KEPT: usize = 4_096;
/// Pause before the log is read again after a failure.
const READ_AGAIN: Duration = Duration::from_millis(250);
/// Longest time for one reading.
const READ_MAX: Duration = Duration::from_secs(10);

/// A place, and the history up to there.
type Reached = (Place, Option<Tag>);

/// What goes out to all subscribers.
#[derive(Debug, Clone)]
pub(super) enum Told {
    /// A change of the ring.
    Change(Arc<Batch>),
    /// What no log keeps; all that came at once, so that no flood of it pushes anything out.
    Announced(Arc<[Arc<Event>]>),
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
    readings: Arc<Semaphore>,
    /// The ring as whoever starts anew gets it.
    pub(super) syncs: Syncs,
    /// The histories of changes that were asked for.
    tags: Mutex<BTreeMap<Epoch, Tag>>,
    /// Whether the node is leaving.
    closing: watch::Sender<bool>,
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
    /// The history up to there.
    tag: Option<Tag>,
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
        let mark = Mark::from(ring.position());
        let at = Place::end_of(mark.epoch);
        let state = State {
            sender: Some(broadcast::channel(WAITING).0),
            at,
            tag: mark.tag,
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
            readings: Arc::new(Semaphore::new(READINGS)),
            syncs: Syncs::default(),
            tags: Mutex::default(),
            closing: watch::channel(false).0,
            places: Arc::new(Semaphore::new(places)),
            state: Mutex::new(state),
        }
    }

    /// Nobody holds it for longer than one telling.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens from now on; answers also with how far was told until now. `None` when the node is leaving.
    pub(super) fn listen(&self) -> Option<(broadcast::Receiver<Told>, Mark)> {
        let state = self.state();
        // A part of a change that was told already comes again with what is read up to its end.
        let mark = Mark { epoch: state.at.epoch, tag: state.tag };
        Some((state.sender.as_ref()?.subscribe(), mark))
    }

    /// How far was told.
    pub(super) fn told(&self) -> Place {
        self.state().at
    }

    /// What was told since a place, if all of it is still at hand; and how far that leads.
    pub(super) fn recent(&self, after: Place) -> Option<(Vec<Arc<Batch>>, Reached)> {
        let state = self.state();
        if after < state.recent_from {
            return None;
        }
        let later = state.recent.iter().rev().take_while(|batch| batch.end > after);
        let mut later: Vec<_> = later.cloned().collect();
        later.reverse();
        Some((later, (state.at, state.tag)))
    }

    /// Tells everybody who listens here.
    pub(super) fn announce(&self, events: impl IntoIterator<Item = Event>) {
        let events: Arc<[Arc<Event>]> = events.into_iter().map(Arc::new).collect();
        let state = self.state();
        if let Some(sender) = state.sender.as_ref().filter(|_| !events.is_empty()) {
            // Nobody may be listening.
            let _none = sender.send(Told::Announced(events));
        }
    }

    /// Ends all subscriptions; there will be no others.
    pub(super) fn close(&self) {
        self.state().sender = None;
        self.closing.send_replace(true);
    }

    /// Whether the node is leaving.
    pub(super) fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    /// A mark is of the history that the database has; one that does not say of which it is, is taken for one.
    pub(super) async fn is_of_this_history(&self, mark: Mark) -> Result<bool, StoreError> {
        let Some(tag) = mark.tag.filter(|_| mark.epoch.counter() > 0) else { return Ok(true) };
        let here = Mark::from(self.ring.position());
        if here.epoch == mark.epoch {
            return Ok(here == mark);
        }
        if let Some(known) = self.tags().get(&mark.epoch) {
            return Ok(*known == tag);
        }
        // It is never closed.
        let permit = Arc::clone(&self.readings).acquire_owned().await.map_err(|_| StoreError::Late)?;
        // Those who have waited ask the same, as a rule.
        if let Some(known) = self.tags().get(&mark.epoch) {
            return Ok(*known == tag);
        }
        let question = move |database: Database| async move {
            let read = database.tag_at(mark.epoch).await;
            drop(permit);
            read
        };
        let read = tokio::time::timeout(READ_MAX, self.ring.database().at_home(question)).await;
        let Some(known) = read.map_err(|_| StoreError::Late)?? else { return Ok(false) };
        let mut tags = self.tags();
        tags.insert(mark.epoch, known);
        while tags.len() > TAGS_KEPT {
            tags.pop_first();
        }
        Ok(known == tag)
    }

    fn tags(&self) -> MutexGuard<'_, BTreeMap<Epoch, Tag>> {
        self.tags.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same as [`Self::read`] for one subscriber: few at a time, also while a question goes on whose subscriber has gone.
    pub(super) async fn read_for_one(
        &self,
        after: Place,
        until: Epoch,
    ) -> Result<Option<(Vec<Batch>, Place)>, StoreError> {
        // It is never closed.
        let permit = Arc::clone(&self.readings).acquire_owned().await.map_err(|_| StoreError::Late)?;
        self.tally.readings.fetch_add(1, Ordering::Relaxed);
        self.read(after, until, Some(permit)).await
    }

    /// The lines of the log behind a place, as events; `Ok(None)` when it does not lead on from there.
    async fn read(
        &self,
        after: Place,
        until: Epoch,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Option<(Vec<Batch>, Place)>, StoreError> {
        let question = move |database: Database| async move {
            let read = database.lines(after, until).await;
            drop(permit);
            read
        };
        let read = tokio::time::timeout(READ_MAX, self.ring.database().at_home(question)).await;
        let stretch = read.map_err(|_| StoreError::Late)??;
        let read = u64::try_from(stretch.lines.len()).unwrap_or(0);
        self.tally.lines.fetch_add(read, Ordering::Relaxed);
        Ok(core::batches(after, until, &stretch))
    }

    /// Tells what has happened up to where the ring is.
    async fn distribute(&self) {
        loop {
            let position = self.ring.position();
            let until = position.epoch;
            let Some(after) = self.due(position) else { return };
            match self.read(after, until, None).await {
                Ok(Some((batches, at))) => self.tell(batches, at),
                Ok(None) => {
                    tracing::error!(
                        after = after.epoch.0,
                        until = until.0,
                        "the change log has a hole or was touched; subscribers get the whole ring instead"
                    );
                    self.start_anew(position);
                }
                Err(error) => {
                    tracing::warn!(%error, "changes can't be told yet; the change log is read again");
                    tokio::time::sleep(READ_AGAIN).await;
                }
            }
        }
    }

    /// From where the log is to be read; `None` when everything was told, or nobody listens.
    fn due(&self, position: Position) -> Option<Place> {
        let until = position.epoch;
        let mut state = self.state();
        let listeners = state.sender.as_ref().map_or(0, broadcast::Sender::receiver_count);
        if state.at >= Place::end_of(until) {
            return None;
        }
        if listeners == 0 {
            // Whoever comes reads from where they were.
            state.skip_to(position);
            return None;
        }
        if state.at.epoch.incarnation() != until.incarnation() {
            drop(state);
            tracing::warn!("the deployment was restored; subscribers get the whole ring");
            self.start_anew(position);
            return None;
        }
        Some(state.at)
    }

    fn tell(&self, batches: Vec<Batch>, at: Place) {
        let mut state = self.state();
        state.tag = batches.last().and_then(|batch| batch.tag);
        for batch in batches {
            let batch = Arc::new(batch);
            self.tally.told.fetch_add(u64::try_from(batch.events.len()).unwrap_or(0), Ordering::Relaxed);
            if !batch.events.is_empty() {
                state.remember(&batch);
            }
            if let Some(sender) = &state.sender {
                // The last one may have gone.
                let _none = sender.send(Told::Change(batch));
            }
        }
        state.at = at;
    }

    fn start_anew(&self, position: Position) {
        let mut state = self.state();
        state.skip_to(position);
        if let Some(sender) = &state.sender {
            let _none = sender.send(Told::Broken);
        }
    }
}

impl State {
    fn skip_to(&mut self, position: Position) {
        self.at = Place::end_of(position.epoch);
        self.tag = Tag::of(&position.head);
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
