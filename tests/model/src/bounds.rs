//! How much may go wrong in one run.

use crate::state::{Age, CHANGES};

/// Limits of a run, and the times of the protocol in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Committed changes, at most [`CHANGES`].
    pub changes: u8,
    /// Processes that die; all of them may start again.
    pub crashes: u8,
    /// Nodes that lose the database; all of them may find it again.
    pub cuts: u8,
    /// Age at which a confirmation still counts.
    pub max_staleness: Age,
    /// Age at which a node's row still allows a poll to confirm. With 0 each poll renews the row itself.
    pub heartbeat: Age,
    /// Versions may also be suspended, resumed and retired.
    pub lifecycle: bool,
    /// Connected nodes poll in every tick. Otherwise a poll may come at any time or never, which is the wider case: a stalled
    /// process, an overloaded one, a lost answer.
    pub punctual: bool,
}

impl Bounds {
    /// One tick of staleness, each poll renews the row.
    #[must_use]
    pub const fn new(changes: u8, crashes: u8, cuts: u8) -> Self {
        assert!(changes as usize <= CHANGES, "the history has no room for more");
        Self { changes, crashes, cuts, max_staleness: 1, heartbeat: 0, lifecycle: false, punctual: false }
    }

    /// Heartbeats apart from polls, at most `ticks` apart.
    #[must_use]
    pub const fn heartbeat(self, ticks: Age) -> Self {
        Self { heartbeat: ticks, ..self }
    }

    /// Another `max_staleness`.
    #[must_use]
    pub const fn max_staleness(self, ticks: Age) -> Self {
        Self { max_staleness: ticks, ..self }
    }

    /// With suspend, resume and retire.
    #[must_use]
    pub const fn lifecycle(self) -> Self {
        Self { lifecycle: true, ..self }
    }

    /// With polls that come when they should.
    #[must_use]
    pub const fn punctual(self) -> Self {
        Self { punctual: true, ..self }
    }

    /// Age from which nothing depends on how much older it grows.
    pub(crate) const fn oldest(self) -> Age {
        self.max_staleness + self.heartbeat + 1
    }
}
