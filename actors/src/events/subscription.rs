//! One subscriber: what was missed, then what happens, without a gap or a repetition.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, broadcast, watch};

use super::{
    core::{Batch, Event, Topics},
    hub::{Shared, Told},
    line::{Mark, Place, Tag},
    sync::{self, Sight, sees},
};
use crate::keyring::Epoch;

/// Pause before the log is read again after a failure.
const READ_AGAIN: Duration = Duration::from_millis(250);
/// Readings that fail before the subscriber is sent elsewhere.
const TRIES: u32 = 40;

/// Why there will be no further event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Gone {
    /// The node is leaving.
    #[error("the node is stopping; subscribe to another one from the last epoch")]
    Stopping,
    /// The log can't be read.
    #[error("the change log can't be read; subscribe to another node from the last epoch")]
    Unreadable,
}

/// What was taken and not yet handed out.
pub(super) struct Waiting {
    event: Arc<Event>,
    /// Its id: only the last event of a change has one.
    id: Option<Mark>,
    /// Up to where nothing is missing once it was handed out.
    whole: Option<Mark>,
}

/// What a subscriber had to ask for.
enum Found {
    /// Events, and how far they lead.
    Events(Vec<Batch>, Place),
    /// The log does not lead on.
    Broken,
    /// The whole ring.
    Ring(Arc<Event>, Mark),
}

/// A question that goes on where it was when nobody waits for it for a while.
type Asking = Pin<Box<dyn Future<Output = Result<Found, Gone>> + Send>>;

/// One of those that there may be of a node. Whoever has what was handed out still on its way to a subscriber keeps it until that is over.
#[derive(Clone)]
pub struct Seat(#[expect(dead_code, reason = "it is held")] Arc<OwnedSemaphorePermit>);

impl Seat {
    pub(super) fn new(permit: OwnedSemaphorePermit) -> Self {
        Self(Arc::new(permit))
    }
}

/// Events for one subscriber.
pub struct Subscription {
    pub(super) shared: Arc<Shared>,
    pub(super) topics: Topics,
    pub(super) sight: Sight,
    pub(super) receiver: broadcast::Receiver<Told>,
    pub(super) place: Seat,
    pub(super) progress: Progress,
}

/// How far it is.
pub(super) struct Progress {
    /// Everything up to here was taken from the log.
    at: Place,
    /// The log is to be read up to here before anything of now is handed out.
    behind: Option<Epoch>,
    /// The whole ring comes before anything of now.
    anew: bool,
    asking: Option<Asking>,
    waiting: VecDeque<Waiting>,
    /// The change up to which everything was handed out.
    whole: Mark,
    /// The id of the event that was handed out last.
    id: Option<Mark>,
}

impl Progress {
    /// Everything up to here was had.
    pub(super) const fn from(whole: Mark) -> Self {
        Self {
            at: Place::end_of(whole.epoch),
            behind: None,
            anew: false,
            asking: None,
            waiting: VecDeque::new(),
            whole,
            id: None,
        }
    }

    /// And what has happened up to there is to be read first.
    pub(super) fn behind(self, now: Epoch) -> Self {
        Self { behind: (self.whole.epoch < now).then_some(now), ..self }
    }

    /// What has happened can't be told any more: the whole ring stands for it. Until that was handed out, nothing further was had.
    pub(super) fn anew(self) -> Self {
        Self { anew: true, ..self }
    }

    /// Everything up to a place was taken.
    fn move_to(&mut self, place: Place, tag: Option<Tag>) {
        if place <= self.at {
            return;
        }
        self.at = place;
        if !place.is_end() {
            return;
        }
        let mark = Mark { epoch: place.epoch, tag };
        match self.waiting.back_mut() {
            Some(last) => {
                if last.event.epoch == Some(mark.epoch) {
                    last.id = Some(mark);
                }
                last.whole = Some(mark);
            }
            None => self.whole = mark,
        }
    }
}

impl Subscription {
    /// Whoever has got everything that was handed out so far goes on from here: the change up to which nothing is missing. It stands
    /// still between two events of one change.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.progress.whole.epoch
    }

    /// The same with the history that it is of.
    #[must_use]
    pub const fn mark(&self) -> Mark {
        self.progress.whole
    }

    /// The id of the event that was handed out last: what to go on from once it was got. Only the last event of a change has one.
    #[must_use]
    pub const fn id(&self) -> Option<Mark> {
        self.progress.id
    }

    /// Its place among those that there may be.
    #[must_use]
    pub fn seat(&self) -> Seat {
        self.place.clone()
    }

    /// Whether the node is leaving, for whoever waits for something else than the next event.
    #[must_use]
    pub fn closing(&self) -> watch::Receiver<bool> {
        self.shared.closing()
    }

    /// The next event. Whoever stops waiting for it loses nothing, nor their place among those who wait to read the log.
    ///
    /// # Errors
    /// See [`Gone`].
    pub async fn next(&mut self) -> Result<Arc<Event>, Gone> {
        loop {
            if let Some(event) = self.missed().await? {
                return Ok(event);
            }
            match self.receiver.recv().await {
                Ok(told) => self.hear(&told),
                Err(broadcast::error::RecvError::Lagged(_)) => self.fell_behind(),
                Err(broadcast::error::RecvError::Closed) => return Err(Gone::Stopping),
            }
        }
    }

    /// The next event of those that had happened before the subscription, or that it fell behind; `None` when it has caught up.
    ///
    /// # Errors
    /// See [`Gone`].
    pub async fn missed(&mut self) -> Result<Option<Arc<Event>>, Gone> {
        loop {
            if let Some(event) = self.hand_out() {
                return Ok(Some(event));
            }
            if let Some(asking) = &mut self.progress.asking {
                let found = asking.as_mut().await;
                self.progress.asking = None;
                self.take_in(found?);
            } else if !self.ask() {
                return Ok(None);
            }
        }
    }

    /// The next event, if it is at hand.
    pub fn at_hand(&mut self) -> Option<Arc<Event>> {
        loop {
            if let Some(event) = self.hand_out() {
                return Some(event);
            }
            let Progress { behind, anew, asking, .. } = &self.progress;
            if behind.is_some() || *anew || asking.is_some() {
                return None;
            }
            match self.receiver.try_recv() {
                Ok(told) => self.hear(&told),
                Err(broadcast::error::TryRecvError::Lagged(_)) => self.fell_behind(),
                // Whoever waits for the next one learns of the end.
                Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed) => {
                    return None;
                }
            }
        }
    }

    fn hear(&mut self, told: &Told) {
        match told {
            Told::Change(batch) => self.take(batch),
            Told::Announced(events) => {
                let wanted = events.iter().filter(|event| self.topics.matches(event));
                let wanted = wanted.map(|event| Waiting { event: Arc::clone(event), id: None, whole: None });
                self.progress.waiting.extend(wanted);
            }
            Told::Broken => self.start_anew(),
        }
    }

    fn fell_behind(&mut self) {
        self.shared.tally.lagged.fetch_add(1, Ordering::Relaxed);
        self.progress.behind = Some(self.shared.told().epoch);
    }

    /// Hands out what may be seen by now: policies may have changed since it was taken.
    fn hand_out(&mut self) -> Option<Arc<Event>> {
        while let Some(Waiting { event, id, whole }) = self.progress.waiting.pop_front() {
            self.progress.whole = whole.unwrap_or(self.progress.whole);
            if sees(&self.sight, &self.shared.ring.snapshot(), &event) {
                self.progress.id = id;
                self.shared.tally.sent(event.name);
                return Some(event);
            }
        }
        None
    }

    /// Takes what is wanted of a batch and was not taken before.
    fn take(&mut self, batch: &Batch) {
        let at = self.progress.at;
        let new = batch.events.iter().filter(|(place, event)| *place > at && self.topics.matches(event));
        let new = new.map(|(_, event)| Waiting { event: Arc::clone(event), id: None, whole: None });
        self.progress.waiting.extend(new);
        self.progress.move_to(batch.end, batch.tag);
    }

    /// Begins with what is to be had before anything of now; `false` when there is nothing.
    fn ask(&mut self) -> bool {
        if std::mem::take(&mut self.progress.anew) {
            let (shared, topics, sight) =
                (Arc::clone(&self.shared), self.topics.clone(), Arc::clone(&self.sight));
            self.progress.asking = Some(Box::pin(async move {
                let (event, mark) = sync::of_ring(&shared, &topics, &sight).await;
                Ok(Found::Ring(event, mark))
            }));
            return true;
        }
        let Some(until) = self.progress.behind else { return false };
        let after = self.progress.at;
        if after >= Place::end_of(until) {
            self.progress.behind = None;
            return false;
        }
        // From memory where it is still there.
        if let Some((batches, (at, tag))) = self.shared.recent(after).filter(|(_, (at, _))| *at > after) {
            batches.iter().for_each(|batch| self.take(batch));
            self.progress.move_to(at, tag);
        } else {
            self.progress.asking = Some(Box::pin(read_on(Arc::clone(&self.shared), after, until)));
        }
        true
    }

    fn take_in(&mut self, found: Found) {
        match found {
            Found::Events(batches, at) => {
                batches.iter().for_each(|batch| self.take(batch));
                self.progress.move_to(at, None);
            }
            Found::Broken => self.start_anew(),
            Found::Ring(event, mark) => {
                self.shared.tally.syncs.fetch_add(1, Ordering::Relaxed);
                self.progress.waiting.push_back(Waiting { event, id: Some(mark), whole: Some(mark) });
                self.progress.at = Place::end_of(mark.epoch);
            }
        }
    }

    /// What was taken and not handed out is in the whole ring; what no log keeps is not.
    fn start_anew(&mut self) {
        let progress = &mut self.progress;
        progress.waiting.retain(|waiting| waiting.event.epoch.is_none());
        progress.waiting.iter_mut().for_each(|waiting| waiting.whole = None);
        (progress.anew, progress.behind, progress.asking) = (true, None, None);
    }
}

/// Reads what was missed, again and again where the database fails.
async fn read_on(shared: Arc<Shared>, after: Place, until: Epoch) -> Result<Found, Gone> {
    for _ in 0..TRIES {
        match shared.read_for_one(after, until).await {
            Ok(Some((batches, at))) => return Ok(Found::Events(batches, at)),
            Ok(None) => return Ok(Found::Broken),
            Err(error) => {
                tracing::debug!(%error, "the change log is read again for a subscriber");
                tokio::time::sleep(READ_AGAIN).await;
            }
        }
    }
    Err(Gone::Unreadable)
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.tally.subscribers.fetch_sub(1, Ordering::Relaxed);
    }
}
