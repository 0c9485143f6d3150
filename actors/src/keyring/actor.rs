//! The actor that owns the ring: it takes one command at a time and finishes it before the next.
//!
//! A panic in here would leave a ring that nobody can trust, so it ends the process; the database has the truth.

use std::sync::Arc;

use actix::prelude::*;
use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{
    command::RingCommand,
    core::{RingError, Subject},
    record::Time,
    snapshot::{Epoch, Snapshot},
    writer::{Writer, Written},
};
use crate::{access::AccessError, clock::Clock, store::StoreError};

/// Who asks for a change, and under which request.
#[derive(Debug, Clone)]
pub struct ChangeContext {
    /// The principal's name, or `system`.
    pub actor: String,
    /// The principal's id.
    pub actor_id: Option<String>,
    /// The API key that asks; it must still be accepted when the change is made.
    pub api_key: Option<uuid::Uuid>,
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
            request_id: request_id.into(),
            idempotency: None,
        }
    }
}

/// A caller's promise that two requests are one.
#[derive(Debug, Clone)]
pub struct IdempotencyTicket {
    /// Whose key it is.
    pub scope: String,
    /// The `Idempotency-Key`.
    pub key: String,
    /// Hash of method, path and body.
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
    /// Whoever asked for the change is not accepted any more.
    #[error("the API key is not accepted any more")]
    ActorGone,
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
}

impl<C: RingCommand> Message for Apply<C> {
    type Result = Result<Applied<C::Subject>, RingFailure>;
}

pub(super) struct KeyRing {
    pub(super) writer: Arc<Writer>,
    pub(super) published: Arc<ArcSwap<Snapshot>>,
    pub(super) changed: watch::Sender<Epoch>,
    pub(super) clock: Arc<dyn Clock>,
    /// The last write left it open whether the database has it; the next one reads the ring anew first.
    pub(super) doubtful: bool,
}

/// What came of one command.
struct Round<S> {
    /// The ring, where it had to be read anew.
    reloaded: Option<Arc<Snapshot>>,
    written: Result<Written<S>, RingFailure>,
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
        let (writer, clock) = (Arc::clone(&self.writer), Arc::clone(&self.clock));
        let (base, doubtful) = (self.published.load_full(), self.doubtful);
        let work = async move {
            let reloaded = if doubtful { Some(Arc::new(writer.reload().await?)) } else { None };
            let base = reloaded.as_ref().unwrap_or(&base);
            let written = writer.write(base, message.command, &message.context, clock.now()).await;
            Ok(Round { reloaded: reloaded.clone(), written })
        };
        AtomicResponse::new(Box::pin(work.into_actor(self).map(|outcome, ring, _| ring.finish(outcome))))
    }
}

impl KeyRing {
    fn finish<S>(&mut self, outcome: Result<Round<S>, RingFailure>) -> Result<Applied<S>, RingFailure> {
        let Round { reloaded, written } = outcome?;
        if let Some(snapshot) = reloaded {
            self.doubtful = false;
            self.publish(snapshot);
        }
        match written {
            Ok(Written::Changed(snapshot, applied)) => {
                self.publish(snapshot);
                Ok(applied)
            }
            Ok(Written::Replayed(applied)) => Ok(applied),
            Err(failure) => {
                self.doubtful |= matches!(failure, RingFailure::Storage(_));
                Err(failure)
            }
        }
    }

    fn publish(&self, snapshot: Arc<Snapshot>) {
        let epoch = snapshot.epoch;
        self.published.store(snapshot);
        self.changed.send_replace(epoch);
    }
}
