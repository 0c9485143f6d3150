//! The door to what happens.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use uuid::Uuid;

use super::{
    core::{Event, EventName, Topics},
    figures::Figures,
    hub::{Hub, Shared},
    line::Mark,
    presence::{Presence, Present, Registry, Sharing},
    prune::Pruner,
    subscription::{Progress, Seat, Subscription},
    sync::{self, Sight},
};
use crate::{
    clock::ClusterClock,
    cluster::{ClusterHandle, RedisLink},
    keyring::KeyRingHandle,
    tokens::TokensHandle,
};

/// Subscribers of one node at most.
const SUBSCRIBERS: usize = 20_000;
/// Questions to the database before nobody can tell whether a subscriber is ahead of it.
const TRIES: u32 = 3;
/// Pause between two of them.
const AGAIN: Duration = Duration::from_millis(250);
/// Longest time for all of them: a subscriber that is sent away has other nodes to ask.
const REACH_MAX: Duration = Duration::from_secs(3);

/// Tells what happens, and knows who is connected. Cheap to clone.
#[derive(Clone)]
pub struct EventsHandle(pub(super) Arc<Shared>);

/// Why somebody can't subscribe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EventsError {
    /// There are too many.
    #[error("this node has as many subscribers as it can serve; try another one")]
    Full,
    /// The node is leaving.
    #[error("this node is stopping; subscribe to another one")]
    Stopping,
    /// The subscriber knows more than the node, which can't ask the database.
    #[error(
        "this node can't tell now whether it is behind that epoch; subscribe to another one, or try again"
    )]
    Stale,
}

impl EventsHandle {
    /// Starts the actors.
    pub(crate) fn start(
        (ring, tokens, cluster): (KeyRingHandle, &TokensHandle, ClusterHandle),
        clock: Arc<ClusterClock>,
        redis: Option<(RedisLink, Uuid)>,
    ) -> Self {
        let sharing = redis.map(|(link, deployment)| Sharing::new(link, deployment, cluster.boot_id()));
        let shared = Arc::new(Shared::new((ring, cluster), Registry::new(sharing.is_some()), SUBSCRIBERS));
        Hub::keep(Arc::clone(&shared));
        let teller = Arc::clone(&shared);
        tokens.tell(move |tellings| {
            let events =
                tellings.iter().map(|telling| Event::announced(EventName::TokenRevoked, None, telling));
            teller.announce(events);
        });
        Pruner::keep(Arc::clone(&shared), Arc::clone(&clock));
        if let Some(sharing) = sharing {
            sharing.keep(Arc::clone(&shared), clock);
        }
        Self(shared)
    }

    /// Tells the subscribers of this node of what no log keeps.
    pub fn announce(&self, event: Event) {
        self.0.announce([event]);
    }

    /// What happens from now on; or what has happened since a change, and then what happens. A change that nobody can go on from, since it is
    /// too old, of another history or ahead of the database, is answered with the whole ring. `sight` is asked about every event.
    ///
    /// # Errors
    /// See [`EventsError`].
    pub async fn subscribe(
        &self,
        topics: Topics,
        since: Option<Mark>,
        sight: Sight,
    ) -> Result<Subscription, EventsError> {
        let shared = &self.0;
        let place = Arc::clone(&shared.places).try_acquire_owned().map_err(|_| EventsError::Full)?;
        let mut is_known = true;
        if let Some(since) = since {
            self.reach(since).await?;
            is_known = shared.is_of_this_history(since).await.map_err(|error| {
                tracing::debug!(%error, "the history of a subscriber is not known");
                EventsError::Stale
            })?;
        }
        let (receiver, told) = shared.listen().ok_or(EventsError::Stopping)?;
        // Whatever is later than this comes through the receiver.
        let here = Mark::from(shared.ring.position());
        let now = if told.epoch > here.epoch { told } else { here };
        shared.tally.subscribers.fetch_add(1, Ordering::Relaxed);
        if since.is_some() {
            shared.tally.replays.fetch_add(1, Ordering::Relaxed);
        }
        let progress = match since {
            None => Progress::from(now),
            Some(since) if !is_known || since.epoch > now.epoch => Progress::from(since).anew(),
            Some(since) if since.epoch.incarnation() != now.epoch.incarnation() => {
                Progress::from(since).anew()
            }
            Some(since) => Progress::from(since).behind(now.epoch),
        };
        Ok(Subscription {
            shared: Arc::clone(shared),
            topics,
            sight,
            receiver,
            place: Seat::new(place),
            progress,
        })
    }

    /// Catches up with a subscriber that comes from a node which was a moment ahead. Only who has just heard from the database may say that it
    /// does not know of a change.
    async fn reach(&self, since: Mark) -> Result<(), EventsError> {
        let shared = &self.0;
        let is_there = || since.epoch <= shared.ring.position().epoch || !shared.cluster.is_shared();
        let reached = async {
            for attempt in 0..TRIES {
                if attempt > 0 {
                    tokio::time::sleep(AGAIN).await;
                }
                if is_there() || shared.cluster.refresh().await || is_there() {
                    return true;
                }
            }
            false
        };
        match tokio::time::timeout(REACH_MAX, reached).await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(EventsError::Stale),
        }
    }

    /// The public state of the ring as the event that stands for everything before, as far as it is wanted and may be seen.
    pub async fn ring_sync(&self, topics: &Topics, sight: &Sight) -> Arc<Event> {
        sync::of_ring(&self.0, topics, sight).await.0
    }

    /// Somebody is connected to this node, until the answer is dropped.
    pub fn enter(&self, presence: Presence) -> Present {
        Present::new(Arc::clone(&self.0), presence)
    }

    /// Who is connected, to whichever node, as far as is known here; at most a thousand of them, those of this node first.
    pub async fn presence(&self) -> Vec<Presence> {
        std::future::ready(self.0.registry.all()).await
    }

    /// A session, and some of those who are connected beside it: so many in all at most.
    #[must_use]
    pub fn presence_beside(&self, conn_id: Uuid, most: usize) -> Vec<Presence> {
        self.0.registry.some(Some(conn_id), most)
    }

    /// Ends all subscriptions, since the node is leaving; there will be no others.
    pub fn close(&self) {
        self.0.close();
    }

    /// What was counted so far.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.0.tally.read(self.0.registry.len())
    }
}
