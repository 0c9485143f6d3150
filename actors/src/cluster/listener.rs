//! The actor that listens to Redis and speaks to it. It has a thread of its own: a read that waits holds up nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix::prelude::*;
use tokio::sync::watch;

use super::{
    actor::{Ask, ClusterLink, Shared, Waiting},
    hints::{Cursors, Entry, Feed, Hints},
    redis::HintError,
};
use crate::{
    clock::uptime,
    keyring::{Epoch, internal},
};

/// Pauses between attempts to reach Redis, doubled up to the longest.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Longest time that a node waits for its own requests before it acknowledges; the barrier has given up by then.
const SETTLE_MAX: Duration = Duration::from_secs(1);

pub(super) struct Listener {
    pub(super) hints: Hints,
    pub(super) shared: Arc<Shared>,
    pub(super) link: Addr<ClusterLink>,
    pub(super) made: watch::Receiver<Epoch>,
    pub(super) revoked: watch::Receiver<u64>,
}

impl Actor for Listener {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let speaks = Speaker { hints: self.hints.clone(), shared: Arc::clone(&self.shared) };
        context.spawn(speaks.clone().run(self.made.clone()).into_actor(self));
        context.spawn(speaks.tell_of_revocations(self.revoked.clone()).into_actor(self));
        let ears =
            Ears { hints: self.hints.clone(), shared: Arc::clone(&self.shared), link: self.link.clone() };
        context.spawn(ears.run().into_actor(self));
    }
}

/// Tells of this node's changes.
#[derive(Clone)]
struct Speaker {
    hints: Hints,
    shared: Arc<Shared>,
}

impl Speaker {
    async fn run(self, mut made: watch::Receiver<Epoch>) {
        while made.changed().await.is_ok() {
            // Several changes at once need one hint.
            let epoch = made.borrow_and_update().0;
            self.publish(epoch, Feed::Ring).await;
        }
    }

    async fn tell_of_revocations(self, mut revoked: watch::Receiver<u64>) {
        while revoked.changed().await.is_ok() {
            revoked.mark_unchanged();
            // An older release reads the epoch, which it has.
            self.publish(self.shared.ring.snapshot().epoch.0, Feed::Revocations).await;
        }
    }

    async fn publish(&self, epoch: u64, feed: Feed) {
        let began = uptime();
        let published = self.hints.publish(&self.shared.node.boot_id, epoch, feed).await;
        let tally = &self.shared.tally;
        if published.is_ok() {
            tally.publications.observe(uptime().saturating_sub(began));
        }
        if let Err(error) = published {
            tally.unsent.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%error, "a change was not announced; the others find it by their polls");
        }
    }
}

/// Hears of the others' changes and of their acknowledgements.
struct Ears {
    hints: Hints,
    shared: Arc<Shared>,
    link: Addr<ClusterLink>,
}

impl Ears {
    async fn run(self) {
        let (mut cursors, mut pause, mut complaint) = (Cursors::default(), PAUSE, None);
        loop {
            match self.hints.read(&self.shared.node.boot_id, &mut cursors).await {
                Ok(entries) => {
                    if !self.shared.connected.swap(true, Ordering::Relaxed) {
                        tracing::info!("Redis is reached");
                        // Whatever was announced meanwhile is found now.
                        self.ask().await;
                    }
                    (pause, complaint) = (PAUSE, None);
                    self.heard(entries).await;
                }
                Err(error) => {
                    self.lost(&error, &mut complaint);
                    // It may come back without its streams, or be another server.
                    cursors = Cursors::default();
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Says so once, and once more when it turns out that waiting is of no use.
    fn lost(&self, error: &HintError, complaint: &mut Option<bool>) {
        self.shared.connected.store(false, Ordering::Relaxed);
        let hopeless = matches!(error, HintError::Cluster);
        if complaint.replace(hopeless) == Some(hopeless) {
            tracing::debug!(%error, "Redis is not used");
        } else if hopeless {
            // It was away when this node started; what stops a start does not stop a node that serves.
            tracing::error!(%error, "redis.url: Redis is not used; changes are found by polls");
        } else {
            tracing::warn!(%error, "Redis is not used until it answers; changes are found by polls");
        }
    }

    async fn ask(&self) {
        let (told, answer) = tokio::sync::oneshot::channel();
        let answered = Some(Waiting { told, _permit: None });
        if self.link.send(Ask { answered }).await.is_ok() {
            let _told = answer.await;
        }
    }

    async fn heard(&self, entries: Vec<Entry>) {
        let own = &self.shared.node.boot_id;
        let readable = entries.iter().filter(|entry| **entry != Entry::Unreadable).count();
        let count = |counter: &AtomicU64, number: usize| {
            counter.fetch_add(u64::try_from(number).unwrap_or(0), Ordering::Relaxed);
        };
        count(&self.shared.tally.received, readable);
        count(&self.shared.tally.unreadable, entries.len() - readable);
        let mut news: Vec<(String, u64)> = Vec::new();
        let mut are_tokens_revoked = false;
        for entry in entries {
            match entry {
                Entry::Changed { by, epoch } if by != *own => {
                    match news.iter_mut().find(|(known, _)| *known == by) {
                        Some((_, known)) => *known = (*known).max(epoch),
                        None => news.push((by, epoch)),
                    }
                }
                Entry::Revoked { by } => are_tokens_revoked |= by != *own,
                Entry::Changed { .. } | Entry::Unreadable => {}
                Entry::Acknowledged { by, epoch, mac } => self.acknowledged(by, epoch, &mac),
            }
        }
        // However many there are, and whoever wrote them: one look at the database.
        if are_tokens_revoked || news.iter().any(|(_, epoch)| *epoch > self.shared.ring.snapshot().epoch.0) {
            self.ask().await;
        }
        let began = uptime();
        for (by, epoch) in news {
            if epoch > self.shared.ring.snapshot().epoch.0 {
                // Forged, or of a database that was rewound.
                self.shared.tally.unfounded.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(epoch, "Redis told of a change that the database does not have");
                continue;
            }
            while self.shared.ring.settled().0 < epoch && uptime().saturating_sub(began) < SETTLE_MAX {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            if self.shared.ring.settled().0 >= epoch {
                self.acknowledge(&by, epoch).await;
            }
        }
    }

    async fn acknowledge(&self, to: &str, epoch: u64) {
        let own = &self.shared.node.boot_id;
        let Some(mac) = internal::acknowledgement(&self.shared.ring.snapshot(), to, own, epoch) else {
            return;
        };
        if let Err(error) = self.hints.acknowledge(to, own, epoch, &mac).await {
            tracing::debug!(%error, "a change was not acknowledged over Redis; the row of the node says it");
        }
    }

    fn acknowledged(&self, by: String, epoch: u64, mac: &[u8]) {
        let own = &self.shared.node.boot_id;
        let expected = internal::acknowledgement(&self.shared.ring.snapshot(), own, &by, epoch);
        if expected.is_some_and(|expected| claviger_crypto::digest::ct_eq(&expected, mac)) {
            self.shared.acknowledge(by, epoch);
        } else {
            self.shared.tally.unfounded.fetch_add(1, Ordering::Relaxed);
            tracing::warn!("an acknowledgement in Redis is none of a node of this deployment");
        }
    }
}
