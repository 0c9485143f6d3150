//! The door to the scheduler.

use std::{sync::Arc, time::Duration};

use actix::{Actor as _, Addr, Arbiter};

use super::{actor::RotationScheduler, core::Agenda};
use crate::{audit::AuditHandle, clock::Clock, keyring::KeyRingHandle};

/// Keeps the scheduler alive.
#[derive(Clone)]
pub struct RotationHandle {
    actor: Addr<RotationScheduler>,
}

impl RotationHandle {
    /// Starts the scheduler; it looks at the ring every `tick` and after every change.
    #[must_use]
    pub fn start(
        ring: KeyRingHandle,
        audit: AuditHandle,
        node: String,
        clock: Arc<dyn Clock>,
        tick: Duration,
    ) -> Self {
        let changes = ring.changes();
        let scheduler = RotationScheduler {
            ring,
            audit,
            node,
            clock,
            tick,
            agenda: Agenda::default(),
            changes,
            rounds: 0,
            busy: false,
        };
        Self { actor: RotationScheduler::start_in_arbiter(&Arbiter::new().handle(), |_| scheduler) }
    }

    /// The scheduler runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.actor.connected()
    }
}
