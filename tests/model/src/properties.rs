//! The promises.
//!
//! They are asked of every state, not of steps: whoever could break one now has broken it.

use stateright::Property;

use crate::protocol::Protocol;
use crate::ring::{Command, VersionState};
use crate::state::{Barrier, Change, Node, Role, State};
use crate::verdict::{Held, Verdict};

/// Versions 1..n once each, without a gap, at most one of them active.
pub const ONE_LINE: &str = "P2: one row a version, no gap, at most one active";
/// No due rotation is done twice, or after something else has replaced the primary.
pub const DUE_ONCE: &str = "P2: a due rotation happens once";
/// What is valid in the database at that moment is accepted or answered 503.
pub const NEVER_INVALID: &str = "P3: a valid token is never answered invalid";
/// Who is named in `acknowledged_by` does not use the version once the answer is out.
pub const ACKNOWLEDGED: &str = "P4: a node that acknowledged has stopped";
/// Nor does any node that the answer does not name.
pub const NAMED: &str = "P4: only nodes named as lagging go on";
/// And those that it names as lagging not longer than it says.
pub const EFFECTIVE_BY: &str = "P4: nobody goes on after effective_by";
/// Answered or not.
pub const STALENESS: &str = "P4: nobody goes on longer than max_staleness";
/// With polls as the floor, no new request uses the version two ticks after the commit on a node that reaches the database all
/// the while.
pub const TWO_POLLS: &str = "P4: two polls are enough";

pub(crate) fn all<const N: usize>(protocol: &Protocol<N>) -> Vec<Property<Protocol<N>>> {
    let mut all = vec![
        Property::always(ONE_LINE, |_, state: &State<N>| state.rings.iter().all(crate::Ring::is_one_line)),
        Property::always(DUE_ONCE, |_, state: &State<N>| due_once(state)),
        Property::always(NEVER_INVALID, never_invalid),
        Property::always(ACKNOWLEDGED, |protocol: &Protocol<N>, state: &State<N>| {
            !protocol.late(state).any(|late| late.after_answer_as(Role::Acknowledged))
        }),
        Property::always(NAMED, |protocol: &Protocol<N>, state: &State<N>| {
            !protocol.late(state).any(|late| late.after_answer_as(Role::Out))
        }),
        Property::always(EFFECTIVE_BY, |protocol: &Protocol<N>, state: &State<N>| {
            let limit = protocol.bounds.max_staleness;
            !protocol.late(state).any(|late| late.is_answered() && late.change.effective > limit)
        }),
        Property::always(STALENESS, |protocol: &Protocol<N>, state: &State<N>| {
            !protocol.late(state).any(|late| late.change.age > protocol.bounds.max_staleness)
        }),
    ];
    if protocol.bounds.punctual && protocol.bounds.cuts == 0 {
        all.push(Property::always(TWO_POLLS, |protocol: &Protocol<N>, state: &State<N>| {
            !protocol.late(state).any(|late| late.change.age >= 2 && !late.held.straggles)
        }));
    }
    all.extend(crate::sanity::all(protocol.bounds));
    all
}

/// A revoked version still in use on a node.
pub(crate) struct Late<'a> {
    node: &'a Node,
    held: Held,
    at: usize,
    change: Change,
}

impl Late<'_> {
    fn is_answered(&self) -> bool {
        matches!(self.change.barrier, Barrier::Answered | Barrier::Past)
    }

    pub(crate) fn after_answer_as(&self, role: Role) -> bool {
        self.change.barrier == Barrier::Answered && self.node.roles[self.at] == role
    }
}

impl<const N: usize> Protocol<N> {
    /// Every use of a revoked version that a request could make now.
    pub(crate) fn late<'a>(&'a self, state: &'a State<N>) -> impl Iterator<Item = Late<'a>> {
        self.revocations(state).flat_map(move |(at, change, version)| {
            state.nodes.iter().flat_map(move |node| {
                node.held()
                    // A snapshot from after the revocation uses the version only if that was taken back.
                    .filter(move |held| usize::from(held.epoch) <= at)
                    .filter(move |held| self.verdict(state, node, *held, version) == Verdict::Valid)
                    .map(move |held| Late { node, held, at, change })
            })
        })
    }

    /// Revocations that are in force.
    fn revocations<'a>(&'a self, state: &'a State<N>) -> impl Iterator<Item = (usize, Change, u8)> + 'a {
        state.changes().filter_map(|(at, change)| {
            let version = change.command.revokes()?;
            let in_force = state.ring().state_of(version).is_some_and(|now| !now.verifies());
            in_force.then_some((at, change, version))
        })
    }
}

fn due_once<const N: usize>(state: &State<N>) -> bool {
    let mut rotations = state.changes().filter_map(|(_, change)| match change.command {
        Command::Rotate { due } => Some(due),
        Command::Compromise(_) | Command::Suspend(_) | Command::Resume(_) | Command::Retire(_) => None,
    });
    // Version 1 is due from the start, the others are new.
    rotations.next().is_none_or(|due| due == 1) && rotations.next().is_none()
}

fn never_invalid<const N: usize>(protocol: &Protocol<N>, state: &State<N>) -> bool {
    let any = |fails: &dyn Fn(&Node, Held) -> bool| {
        state.nodes.iter().any(|node| node.held().any(|held| fails(node, held)))
    };
    !state.ring().rows().any(|row| match row.state {
        VersionState::Active | VersionState::Deactivated => {
            any(&|node, held| protocol.verdict(state, node, held, row.version) == Verdict::Invalid)
        }
        // A token made now would be refused at once on every node that is not behind.
        VersionState::Retired => any(&|node, held| protocol.signs(state, node, held, row.version)),
        // No tokens yet, or none that are valid.
        VersionState::Standby | VersionState::Suspended | VersionState::Compromised => false,
    })
}
