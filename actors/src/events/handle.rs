//! The door to what happens.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
};

use uuid::Uuid;

use super::{
    core::{Event, EventName, Topics},
    figures::Figures,
    hub::{Hub, Shared},
    line::Place,
    presence::{Presence, Present, Registry, Sharing},
    prune::Pruner,
    subscription::Subscription,
    sync::{Sight, ring_sync_for},
};
use crate::{
    clock::ClusterClock,
    cluster::{ClusterHandle, RedisLink},
    keyring::{Epoch, KeyRingHandle},
    tokens::TokensHandle,
};

/// Subscribers of one node at most.
const SUBSCRIBERS: usize = 20_000;

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
}

impl EventsHandle {
    /// Starts the actors.
    pub(crate) fn start(
        (ring, tokens, cluster): (KeyRingHandle, &TokensHandle, ClusterHandle),
        clock: Arc<ClusterClock>,
        redis: Option<(RedisLink, Uuid)>,
    ) -> Self {
        let sharing = redis.map(|(link, deployment)| Sharing::new(link, deployment, cluster.boot_id()));
        let shared = Arc::new(Shared::new((ring, cluster), Registry::default(), SUBSCRIBERS));
        Hub::keep(Arc::clone(&shared));
        let teller = Arc::clone(&shared);
        tokens.tell(move |telling| {
            teller.announce(Arc::new(Event::announced(EventName::TokenRevoked, None, telling)));
        });
        Pruner::keep(Arc::clone(&shared), Arc::clone(&clock));
        if let Some(sharing) = sharing {
            sharing.keep(Arc::clone(&shared), clock);
        }
        Self(shared)
    }

    /// Tells the subscribers of this node of what no log keeps.
    pub fn announce(&self, event: Event) {
        self.0.announce(Arc::new(event));
    }

    /// What happens from now on; or what has happened since a change, and then what happens. A change that this node can't go on from, since it is
    /// too old, of another incarnation or ahead of the database, is answered with the whole ring. `sight` is asked about every event.
    ///
    /// # Errors
    /// See [`EventsError`].
    pub async fn subscribe(
        &self,
        topics: Topics,
        since: Option<Epoch>,
        sight: Sight,
    ) -> Result<Subscription, EventsError> {
        let shared = &self.0;
        let place = Arc::clone(&shared.places).try_acquire_owned().map_err(|_| EventsError::Full)?;
        if since.is_some_and(|since| since > shared.ring.position().epoch) && shared.cluster.is_shared() {
            // The subscriber may come from a node that was a moment ahead.
            shared.cluster.refresh().await;
        }
        let (receiver, told) = shared.listen().ok_or(EventsError::Stopping)?;
        // Whatever is later than this comes through the receiver.
        let now = shared.ring.position().epoch.max(told.epoch);
        shared.tally.subscribers.fetch_add(1, Ordering::Relaxed);
        let mut subscription = Subscription {
            shared: Arc::clone(shared),
            topics,
            sight,
            receiver,
            at: Place::end_of(now),
            behind: None,
            waiting: VecDeque::new(),
            whole: now,
            _place: place,
        };
        let Some(since) = since else { return Ok(subscription) };
        shared.tally.replays.fetch_add(1, Ordering::Relaxed);
        if since.incarnation() != now.incarnation() || since > now {
            subscription.start_anew();
            return Ok(subscription);
        }
        (subscription.at, subscription.whole) = (Place::end_of(since), since);
        subscription.behind = (since < now).then_some(now);
        Ok(subscription)
    }

    /// The public state of the ring as the event that stands for everything before, as far as it is wanted and may be seen.
    #[must_use]
    pub fn ring_sync(&self, topics: &Topics, sight: &Sight) -> Arc<Event> {
        Arc::new(ring_sync_for(&self.0.ring.snapshot(), topics, sight))
    }

    /// Somebody is connected to this node, until the answer is dropped.
    pub fn enter(&self, presence: Presence) -> Present {
        Present::new(Arc::clone(&self.0), presence)
    }

    /// Who is connected, to whichever node, as far as is known here; at most a thousand of them, those of this node first.
    pub async fn presence(&self) -> Vec<Presence> {
        std::future::ready(self.0.registry.all()).await
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
