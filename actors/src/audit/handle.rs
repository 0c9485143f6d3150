//! The door to the audit log.

use std::{path::Path, sync::Arc};

use actix::{Actor as _, Addr, Arbiter};
use tokio::sync::{Semaphore, oneshot};

use super::{
    actor::{Append, AuditLogger},
    record::AuditRecord,
    segment::Segment,
};

/// Records that may wait to be written; beyond it operations are refused.
const WAITING_RECORDS: usize = 4_096;

/// Writes records. Cheap to clone.
#[derive(Clone)]
pub struct AuditHandle {
    actor: Addr<AuditLogger>,
    permits: Arc<Semaphore>,
}

/// The record is not in the log, so the operation must not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuditUnavailable {
    /// Too many records wait.
    #[error("too many audit records are waiting")]
    Overloaded,
    /// The file can't be written.
    #[error("the audit log can't be written")]
    Unwritable,
}

impl AuditHandle {
    /// Starts the log in a directory, which is made when absent.
    #[must_use]
    pub fn start(directory: &Path) -> Self {
        let segment = Segment::new(directory);
        let actor = AuditLogger::start_in_arbiter(&Arbiter::new().handle(), |context| {
            context.set_mailbox_capacity(WAITING_RECORDS);
            AuditLogger::new(segment)
        });
        Self { actor, permits: Arc::new(Semaphore::new(WAITING_RECORDS)) }
    }

    /// Writes a record; resolves when it is in the file.
    ///
    /// # Errors
    /// See [`AuditUnavailable`].
    pub async fn append(&self, record: &AuditRecord) -> Result<(), AuditUnavailable> {
        let _permit = self.permits.try_acquire().map_err(|_| AuditUnavailable::Overloaded)?;
        let mut line = serde_json::to_vec(record).map_err(|_| AuditUnavailable::Unwritable)?;
        line.push(b'\n');
        let (written, waiting) = oneshot::channel();
        self.actor.send(Append { line, written }).await.map_err(|_| AuditUnavailable::Unwritable)?;
        match waiting.await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(AuditUnavailable::Unwritable),
        }
    }
}
