//! One subscriber: what was missed, then what happens, without a gap or a repetition.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, broadcast};

use super::{
    core::{Batch, Event, EventName, Topics},
    hub::{Shared, Told},
    line::Place,
    sync::{Sight, ring_sync_for, sees},
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

/// Events for one subscriber.
pub struct Subscription {
    pub(super) shared: Arc<Shared>,
    pub(super) topics: Topics,
    pub(super) sight: Sight,
    pub(super) receiver: broadcast::Receiver<Told>,
    /// Everything up to here was taken from the log.
    pub(super) at: Place,
    /// The log is to be read up to here before anything of now is handed out.
    pub(super) behind: Option<Epoch>,
    /// What was taken and not yet handed out; with each event the change that it completes.
    pub(super) waiting: VecDeque<(Arc<Event>, Option<Epoch>)>,
    /// The change up to which everything was handed out.
    pub(super) whole: Epoch,
    pub(super) _place: OwnedSemaphorePermit,
}

impl Subscription {
    /// Whoever has got everything that was handed out so far goes on from here: the change up to which nothing is missing. It stands
    /// still between two events of one change.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.whole
    }

    /// The next event. Whoever stops waiting for it loses nothing.
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
            let Some(until) = self.behind else { return Ok(None) };
            self.read_on(until).await?;
        }
    }

    /// The next event, if it is at hand.
    pub fn at_hand(&mut self) -> Option<Arc<Event>> {
        loop {
            if let Some(event) = self.hand_out() {
                return Some(event);
            }
            if self.behind.is_some() {
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
            Told::Announced(event) if self.topics.matches(event) => {
                self.waiting.push_back((Arc::clone(event), None));
            }
            Told::Announced(_) => {}
            Told::Broken => self.start_anew(),
        }
    }

    fn fell_behind(&mut self) {
        self.shared.tally.lagged.fetch_add(1, Ordering::Relaxed);
        self.behind = Some(self.shared.told().epoch);
    }

    /// Hands out what may be seen by now: policies may have changed since it was taken.
    fn hand_out(&mut self) -> Option<Arc<Event>> {
        while let Some((event, completes)) = self.waiting.pop_front() {
            self.whole = completes.unwrap_or(self.whole);
            if sees(&self.sight, &self.shared.ring.snapshot(), &event) {
                self.shared.tally.sent(event.name);
                return Some(event);
            }
        }
        None
    }

    /// Takes what is wanted of a batch and was not taken before.
    fn take(&mut self, batch: &Batch) {
        if batch.end <= self.at {
            return;
        }
        let new = batch.events.iter().filter(|(place, event)| *place > self.at && self.topics.matches(event));
        self.waiting.extend(new.map(|(_, event)| (Arc::clone(event), None)));
        self.move_to(batch.end);
    }

    /// Everything up to a place was taken.
    fn move_to(&mut self, place: Place) {
        self.at = self.at.max(place);
        if !self.at.is_end() {
            return;
        }
        match self.waiting.back_mut() {
            Some((_, completes)) => *completes = Some(self.at.epoch),
            None => self.whole = self.whole.max(self.at.epoch),
        }
    }

    /// Reads what was missed, from memory where it is still there.
    async fn read_on(&mut self, until: Epoch) -> Result<(), Gone> {
        if self.at >= Place::end_of(until) {
            self.behind = None;
            return Ok(());
        }
        if let Some((batches, at)) = self.shared.recent(self.at).filter(|(_, at)| *at > self.at) {
            batches.iter().for_each(|batch| self.take(batch));
            self.move_to(at);
            return Ok(());
        }
        let mut failures = 0;
        let read = loop {
            // It is never closed.
            let permit = self.shared.readings.acquire().await.map_err(|_| Gone::Stopping)?;
            self.shared.tally.readings.fetch_add(1, Ordering::Relaxed);
            let read = self.shared.read(self.at, until).await;
            drop(permit);
            match read {
                Ok(read) => break read,
                Err(error) if failures < TRIES => {
                    tracing::debug!(%error, "the change log is read again for a subscriber");
                    failures += 1;
                    tokio::time::sleep(READ_AGAIN).await;
                }
                Err(_) => return Err(Gone::Unreadable),
            }
        };
        match read {
            Some((batches, at)) => {
                batches.iter().for_each(|batch| self.take(batch));
                self.move_to(at);
            }
            None => self.start_anew(),
        }
        Ok(())
    }

    /// What has happened can't be told any more: the whole ring stands for it.
    pub(super) fn start_anew(&mut self) {
        let snapshot = self.shared.ring.snapshot();
        let event = ring_sync_for(&snapshot, &self.topics, &self.sight);
        self.shared.tally.syncs.fetch_add(1, Ordering::Relaxed);
        // What was taken and not handed out is in there; what no log keeps is not.
        self.waiting.retain(|(event, _)| event.epoch.is_none() && event.name != EventName::RingSync);
        self.waiting.push_back((Arc::new(event), Some(snapshot.epoch)));
        self.at = Place::end_of(snapshot.epoch);
        self.behind = None;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.tally.subscribers.fetch_sub(1, Ordering::Relaxed);
    }
}
