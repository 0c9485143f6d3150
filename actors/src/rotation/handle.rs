//! The door to the scheduler.

use std::{sync::Arc, time::Duration};

use actix::{Actor as _, Addr, Arbiter};

use super::{actor::RotationScheduler, core::Agenda, figures::Tally};
use crate::{audit::AuditHandle, clock::Clock, keyring::KeyRingHandle};

/// Keeps the scheduler alive.
#[derive(Clone)]
pub struct RotationHandle {
    actor: Addr<RotationScheduler>,
    tally: Arc<Tally>,
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
        let (changes, tally) = (ring.changes(), Arc::<Tally>::default());
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
            tally: Arc::clone(&tally),
        };
        Self { actor: RotationScheduler::start_in_arbiter(&Arbiter::new().handle(), |_| scheduler), tally }
    }

    /// The scheduler runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.actor.connected()
    }

    /// Kind of work that was due, what became of it, how often.
    #[must_use]
    pub fn figures(&self) -> Vec<(&'static str, &'static str, u64)> {
        self.tally.read()
    }
}
