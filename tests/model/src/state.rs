//! Everything at one moment.

use crate::ring::{Command, Ring};

/// Changes that the history has room for.
pub const CHANGES: usize = 3;

/// Ticks since something happened; stops counting at [`Bounds::oldest`](crate::Bounds).
pub(crate) type Age = u8;

/// Changes committed so far; indexes the history of rings.
pub(crate) type Epoch = u8;

/// Where a process stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// No process. Its row may still be there, which only makes a barrier wait longer, so it is left out.
    #[default]
    Down,
    /// Has its row, has no snapshot, serves nobody.
    Starting,
    /// Serves. A node that drains serves too, until it is down.
    Ready,
    /// Only without [`Guard::RegisterBeforeLoad`](crate::Guard): has a snapshot, has no row.
    Loaded,
    /// Only without [`Guard::DrainBeforeLeave`](crate::Guard): has deleted its row and still serves.
    Leaving,
}

/// A node's part in the barrier of one change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Not waited for.
    #[default]
    Out,
    /// Was live when that was read, has not acknowledged. In an answer: `lagging`.
    Awaited,
    /// In an answer: `acknowledged_by`.
    Acknowledged,
}

/// A poll that has been answered and not been received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reply {
    /// What the database said.
    pub epoch: Epoch,
    /// Since it was sent. Sending and reading are one step: a later reading would only make the node stricter than it must be.
    pub age: Age,
}

/// A request that holds an older snapshot. One a node: each failure needs one witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Straggler {
    /// Of the snapshot that it holds.
    pub epoch: Epoch,
    /// Since that snapshot was last confirmed.
    pub age: Age,
}

/// One node. Ordered so that the nodes of a state can be sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// Where the process stands.
    pub phase: Phase,
    /// Can't reach the database.
    pub cut: bool,
    /// Epoch of the snapshot that new requests use.
    pub snapshot: Epoch,
    /// Since that snapshot was last confirmed.
    pub confirmed: Age,
    /// A request that came before the snapshot.
    pub straggler: Option<Straggler>,
    /// A poll on its way back.
    pub reply: Option<Reply>,
    /// Since its row was renewed; in the database.
    pub row: Option<Age>,
    /// For each change.
    pub roles: [Role; CHANGES],
    /// Only without [`Guard::FenceInRequest`](crate::Guard): the timer has struck.
    pub fenced: bool,
    /// Only without [`Guard::UnknownIsNotKept`](crate::Guard): a version that was looked up in vain at this epoch.
    pub unknown: Option<u8>,
    /// Only without [`Guard::LiveReadAfterCommit`](crate::Guard): was live when the change began.
    pub listed: bool,
}

impl Node {
    /// Whether a process runs.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.phase != Phase::Down
    }

    /// Whether it answers requests.
    #[must_use]
    pub fn serves(&self) -> bool {
        matches!(self.phase, Phase::Ready | Phase::Leaving)
    }

    /// The process ends. What it held is gone; that the database can't be reached from its host is not.
    pub(crate) fn fall(&mut self) {
        *self = Self { cut: self.cut, ..Self::default() };
    }
}

/// How far the answer to a revocation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Barrier {
    /// Nobody waits: not a revocation, or its node does not know that it committed, or `effective_by` passed before it answered.
    #[default]
    None,
    /// The node that made the change knows that it committed, and has not read yet who is live.
    Committed,
    /// It waits for those who were.
    Waiting,
    /// It has answered, with the roles of that moment.
    Answered,
    /// It has answered and `effective_by` is past: who was named matters no more.
    Past,
}

/// A committed change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    /// As decided; a rotation with the primary that it replaced.
    pub command: Command,
    /// Since the commit.
    pub age: Age,
    /// Since the moment from which `effective_by` counts.
    pub effective: Age,
    /// Its answer.
    pub barrier: Barrier,
}

/// Everything at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State<const N: usize> {
    /// Sorted.
    pub nodes: [Node; N],
    /// In the database, in the order of commits.
    pub changes: [Option<Change>; CHANGES],
    /// The ring at each epoch.
    pub rings: [Ring; CHANGES + 1],
    /// The database's counter.
    pub epoch: Epoch,
    /// Crashes so far.
    pub crashes: u8,
    /// Cuts so far.
    pub cuts: u8,
    /// Only without [`Guard::EffectiveFromCommit`](crate::Guard) or [`Guard::LiveReadAfterCommit`](crate::Guard): a transaction that
    /// waits for the lock, and how long.
    pub begun: Option<(Command, Age)>,
}

impl<const N: usize> State<N> {
    /// All nodes serve a new key, freshly confirmed.
    #[must_use]
    pub fn first() -> Self {
        let node = Node { phase: Phase::Ready, row: Some(0), ..Node::default() };
        let mut rings = [Ring::empty(); CHANGES + 1];
        rings[0] = Ring::first();
        Self { nodes: [node; N], changes: [None; CHANGES], rings, epoch: 0, crashes: 0, cuts: 0, begun: None }
    }

    /// What the database holds.
    #[must_use]
    pub fn ring(&self) -> &Ring {
        &self.rings[usize::from(self.epoch)]
    }

    /// The changes with their places in [`Node::roles`].
    pub fn changes(&self) -> impl Iterator<Item = (usize, Change)> + '_ {
        self.changes.iter().enumerate().filter_map(|(at, change)| change.map(|change| (at, change)))
    }
}
