//! The actor that owns the ring: it takes one command at a time and finishes it before the next.
//!
//! A panic in here would leave a ring that nobody can trust, so it ends the process; the database has the truth.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use actix::prelude::*;
use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{
    command::RingCommand,
    core::{RingError, Subject},
    figures::Tally,
    record::Time,
    snapshot::{Epoch, Snapshot},
    writer::{Round, Writer, Written},
};
use crate::{
    access::AccessError,
    clock::Clock,
    devices::{ActingDevice, DeviceError},
    incidents::IncidentError,
    store::StoreError,
};

/// Longest time for one change; a database that is cut off must not hold the ring for ever.
const WRITE_MAX: Duration = Duration::from_secs(10);
/// Pause before the database is asked again whether it has a change.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Who asks for a change, and under which request.
#[derive(Debug, Clone)]
pub struct ChangeContext {
    /// The principal's name, or `system`.
    pub actor: String,
    /// The principal's id.
    pub actor_id: Option<String>,
    /// The API key that asks; it must still be accepted when the change is made.
    pub api_key: Option<uuid::Uuid>,
    /// The device that asks; likewise.
    pub device: Option<ActingDevice>,
    /// Whether the caller still may, asked again when the change is made on a ring with other policies than they were judged by.
    pub still_may: Option<StillMay>,
    /// `X-Request-Id` of the request.
    pub request_id: String,
    /// Set when the caller sent an `Idempotency-Key`.
    pub idempotency: Option<IdempotencyTicket>,
}

impl ChangeContext {
    /// A change that the service makes on its own.
    #[must_use]
    pub fn system(request_id: impl Into<String>) -> Self {
        Self {
            actor: "system".to_owned(),
            actor_id: None,
            api_key: None,
            device: None,
            still_may: None,
            request_id: request_id.into(),
            idempotency: None,
        }
    }
}

/// A judgement that can be made again.
#[derive(Clone)]
pub struct StillMay {
    /// Revision of the policies and labels that it was made by.
    pub revision: u64,
    /// The same question to another ring.
    pub ask: Arc<dyn Fn(&Snapshot) -> bool + Send + Sync>,
}

impl std::fmt::Debug for StillMay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StillMay").field("revision", &self.revision).finish_non_exhaustive()
    }
}

/// A caller's promise that two requests are one.
#[derive(Debug, Clone)]
pub struct IdempotencyTicket {
    /// Whose key it is.
    pub scope: String,
    /// The `Idempotency-Key`.
    pub key: String,
    /// Keyed hash of method, path and body.
    pub request_hash: [u8; 32],
}

/// A change that is in the database and in the snapshot.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Applied<S = Subject> {
    /// What the answer names; a version of a key, mostly.
    pub subject: S,
    /// Epoch of the change.
    pub epoch: Epoch,
    /// When it was committed.
    pub at: Time,
}

/// Why there was no change.
#[derive(Debug, thiserror::Error)]
pub enum RingFailure {
    /// The ring refused.
    #[error(transparent)]
    Refused(#[from] RingError),
    /// API keys or policies refused.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// Devices refused.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Incidents refused.
    #[error(transparent)]
    Incident(#[from] IncidentError),
    /// Whoever asked for the change is not accepted any more.
    #[error("the credential is not accepted any more")]
    ActorGone,
    /// Policies have changed since the caller was judged.
    #[error("policies do not permit this any more")]
    NotPermitted,
    /// The material was refused.
    #[error(transparent)]
    Material(#[from] claviger_crypto::material::MaterialError),
    /// The `Idempotency-Key` was used for another request.
    #[error("this Idempotency-Key was used for another request; choose a new one")]
    IdempotencyMismatch,
    /// Too many changes wait.
    #[error("too many changes are waiting; try again")]
    Overloaded,
    /// The database did not take the change, or may have.
    #[error("the database did not confirm the change; read the key to see whether it happened")]
    Storage(#[source] StoreError),
    /// The database has lost changes that were made.
    #[error("the database is not the one that this node knows: it is a copy of earlier or has lost changes")]
    Rewound,
    /// Sealing failed.
    #[error("material could not be sealed")]
    Seal,
    /// The ring has stopped.
    #[error("the service is stopping")]
    Stopped,
}

pub(super) struct Apply<C> {
    pub(super) command: C,
    pub(super) context: ChangeContext,
    pub(super) asked: Instant,
}

impl<C: RingCommand> Message for Apply<C> {
    type Result = Result<Applied<C::Subject>, RingFailure>;
}

pub(super) struct KeyRing {
    pub(super) board: Arc<Board>,
    /// Changes that this node has made itself.
    pub(super) made: watch::Sender<Epoch>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) tally: Arc<Tally>,
}

/// Where the ring hangs for everybody to see. A change of this node may stand in line at the database for seconds, behind those of a slow node;
/// what others have done meanwhile is taken in beside it, or the node would know less than it may not know.
pub(super) struct Board {
    pub(super) writer: Writer,
    pub(super) published: ArcSwap<Snapshot>,
    pub(super) changed: watch::Sender<Epoch>,
    /// Rings that requests may still work on.
    pub(super) older: Older,
    /// The database has lost what the snapshot has.
    pub(super) rewound: AtomicBool,
    pub(super) exchanging: Mutex<()>,
}

/// A change was not confirmed; find out.
#[derive(Message)]
#[rtype(result = "()")]
struct Look;

impl Handler<Look> for KeyRing {
    type Result = ();

    fn handle(&mut self, _: Look, context: &mut Self::Context) {
        let board = Arc::clone(&self.board);
        let seen = async move { board.catch_up().await };
        context.spawn(seen.into_actor(self).map(|seen, _, context| {
            if matches!(seen, Err(RingFailure::Storage(_))) {
                context.notify_later(Look, LOOK_AGAIN);
            }
        }));
    }
}

/// Rings before the present one, as long as somebody works on them.
#[derive(Default)]
pub(super) struct Older(Mutex<Vec<(Epoch, Weak<Snapshot>)>>);

impl Older {
    fn push(&self, snapshot: &Arc<Snapshot>) {
        let mut older = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        older.retain(|(_, snapshot)| snapshot.strong_count() > 0);
        older.push((snapshot.epoch, Arc::downgrade(snapshot)));
    }

    /// The oldest that is still worked on.
    pub(super) fn oldest(&self) -> Option<Epoch> {
        let mut older = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        older.retain(|(_, snapshot)| snapshot.strong_count() > 0);
        older.iter().map(|(epoch, _)| *epoch).min()
    }
}

impl Actor for KeyRing {
    type Context = Context<Self>;
}

impl Drop for KeyRing {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("the key ring panicked; the process ends, the database has the truth");
            std::process::abort();
        }
    }
}

impl<C: RingCommand> Handler<Apply<C>> for KeyRing {
    type Result = AtomicResponse<Self, Result<Applied<C::Subject>, RingFailure>>;

    fn handle(&mut self, message: Apply<C>, _: &mut Self::Context) -> Self::Result {
        self.tally.waits.observe(message.asked.elapsed());
        let (board, clock) = (Arc::clone(&self.board), Arc::clone(&self.clock));
        let work = async move {
            let written = async {
                let turn = board.writer.take_turn().await?;
                // Not before: whoever stands in line holds on to no ring.
                let base = board.published.load_full();
                board.writer.write(turn, &base, message.command, &message.context, &*clock).await
            };
            let late = |_| RingFailure::Storage(StoreError::Late);
            tokio::time::timeout(WRITE_MAX, written).await.map_err(late)?
        };
        AtomicResponse::new(Box::pin(
            work.into_actor(self).map(|outcome, ring, context| ring.finish(outcome, context)),
        ))
    }
}

impl KeyRing {
    fn finish<S>(
        &mut self,
        outcome: Result<Round<S>, RingFailure>,
        context: &mut Context<Self>,
    ) -> Result<Applied<S>, RingFailure> {
        if matches!(outcome, Err(RingFailure::Storage(_))) {
            // Cut off in the middle: the database may have the change after all.
            context.notify(Look);
        }
        let Round { found, written } = self.board.judged(outcome)?;
        if let Some(snapshot) = found {
            self.board.publish(snapshot);
        }
        match written {
            Ok(Written::Changed(snapshot, applied)) => {
                self.board.publish(snapshot);
                self.made.send_replace(applied.epoch);
                Ok(applied)
            }
            Ok(Written::Replayed(applied)) => Ok(applied),
            Err(failure) => {
                if matches!(failure, RingFailure::Storage(_)) {
                    // The database may have the change after all, and then readers must see it.
                    context.notify(Look);
                }
                Err(failure)
            }
        }
    }
}

impl Board {
    /// Looks whether the database has gone on, and takes that in. It goes on whether or not anybody waits for it.
    pub(super) async fn catch_up(self: &Arc<Self>) -> Result<(), RingFailure> {
        let board = Arc::clone(self);
        let look = async move |_| {
            let base = board.published.load_full();
            let found = tokio::time::timeout(WRITE_MAX, board.writer.catch_up(&base)).await;
            let found = found.unwrap_or(Err(RingFailure::Storage(StoreError::Late)));
            Ok(board
                .judged(found)
                .map(|found| found.into_iter().for_each(|snapshot| board.publish(snapshot))))
        };
        self.writer.database.at_home(look).await.map_err(RingFailure::Storage)?
    }

    /// Takes down whether the database still is the one that is known here.
    fn judged<T>(&self, outcome: Result<T, RingFailure>) -> Result<T, RingFailure> {
        let rewound = match &outcome {
            Ok(_) => false,
            Err(RingFailure::Rewound) => true,
            Err(_) => return outcome,
        };
        if self.rewound.swap(rewound, Ordering::AcqRel) != rewound {
            if rewound {
                tracing::error!(
                    "the database was rewound: it has lost changes that this node knows; nothing is served until it has them again"
                );
            } else {
                tracing::info!("the database has the known history again");
            }
        }
        outcome
    }

    fn publish(&self, snapshot: Arc<Snapshot>) {
        let epoch = snapshot.epoch;
        let _one = self.exchanging.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.published.load_full();
        // Whoever looked first may be done last.
        if epoch < before.epoch {
            return;
        }
        // It is at least as whole, however long ago that was whose changes it was made from.
        snapshot.confirmed().at(before.confirmed().uptime());
        // First it counts as older, then it is: nobody may think that all work on the new one while somebody takes up this one.
        self.older.push(&before);
        self.published.store(snapshot);
        self.changed.send_replace(epoch);
    }

    /// The ring had at this uptime what the database had.
    pub(super) fn confirm(&self, uptime: Duration) {
        // Not while it is exchanged, or the next one would not know.
        let _one = self.exchanging.lock().unwrap_or_else(PoisonError::into_inner);
        self.published.load().confirmed().at(uptime);
    }
}
