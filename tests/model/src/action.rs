//! What may happen.

use crate::ring::Command;
use crate::state::Epoch;

/// What the node that makes a change learns of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It committed. The node swaps its snapshot; whether a request goes on with the old one is the bit.
    Known(bool),
    /// Nothing: the connection broke at the commit.
    Lost,
}

/// One step. Nodes are numbered by their place in the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Time passes.
    Tick,
    /// A process dies, or ends after draining: what is left is the same.
    Fall(usize),
    /// A process starts and inserts its row.
    Start(usize),
    /// A node loses the database.
    Cut(usize),
    /// It finds it again.
    Heal(usize),
    /// A node reads epoch and changes.
    Poll(usize),
    /// A node hears a hint. The channel has no memory: whatever was lost, doubled, reordered, wiped or forged, what counts is
    /// that any hint may be heard at any time, or none.
    Hint(usize, Epoch),
    /// A node renews its row.
    Heartbeat(usize),
    /// The answer of a poll arrives. The bit: a request goes on with the old snapshot.
    Receive(usize, bool),
    /// The request with the old snapshot ends.
    Finish(usize),
    /// A node commits a change.
    Commit(usize, Command, Outcome),
    /// A node acknowledges the change with this place.
    Acknowledge(usize, usize),
    /// The node that made the change with this place reads the rows of live nodes.
    ReadLive(usize),
    /// The change is answered: all have acknowledged, or the deadline has passed, which it may at any time.
    Answer(usize),
    /// Without a guard: something that the protocol does not do.
    Wrong(Wrong),
}

/// Steps that are there only without a guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wrong {
    /// A transaction starts and waits for the lock.
    Begin(Command),
    /// A poll is answered by a replica that has got this far.
    Replica(usize, Epoch),
    /// A poll's answer confirms a snapshot that is older than the answer.
    ConfirmOnly(usize),
    /// Somebody acknowledges in a node's name.
    Forge(usize, usize),
    /// A loaded node inserts its row.
    Register(usize),
    /// A serving node deletes its row.
    Leave(usize),
    /// A node starts under the name of another one and takes over its row.
    TakeOver(usize, usize),
    /// The change with this place waits for whom Redis names after it was wiped: the node that came back first.
    ReadRedis(usize, usize),
    /// A node looks a version up in vain and remembers.
    Probe(usize, u8),
    /// The timer looks at the age.
    Timer(usize),
}
