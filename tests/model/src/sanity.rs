//! What a run must have seen for its promises to mean something.

use stateright::Property;

use crate::bounds::Bounds;
use crate::protocol::Protocol;
use crate::state::{Barrier, Node, Phase, Role, State};
use crate::verdict::Verdict;

type Seen<const N: usize> = fn(&Protocol<N>, &State<N>) -> bool;

pub(crate) fn all<const N: usize>(bounds: Bounds) -> Vec<Property<Protocol<N>>> {
    let two = bounds.changes >= 2;
    let table: [(bool, &'static str, Seen<N>); 11] = [
        (true, "all nodes acknowledge a revocation", |_, state| all_acknowledge(state)),
        (true, "a node named as lagging goes on", |protocol, state| {
            protocol.late(state).any(|late| late.after_answer_as(Role::Awaited))
        }),
        (true, "a request holds an acknowledgement back", |_, state| state.nodes.iter().any(is_held_back)),
        (true, "a late rotation is refused", |_, state| is_rotation_late(state)),
        (!bounds.punctual || bounds.cuts > 0, "a node has fenced itself", |protocol, state| {
            state.nodes.iter().any(|node| node.serves() && node.confirmed > protocol.bounds.max_staleness)
        }),
        (two, "a version is read through", |protocol, state| {
            is_looked_up(protocol, state, false, Verdict::Valid)
        }),
        (two, "every node has every change", |protocol, state| {
            let is_last = |node: &Node| node.serves() && node.snapshot == protocol.bounds.changes;
            state.nodes.iter().all(is_last)
        }),
        (two && bounds.cuts > 0, "a cut-off node says 503 to a new version", |protocol, state| {
            is_looked_up(protocol, state, true, Verdict::Unavailable)
        }),
        (bounds.crashes > 0, "a change outlives the node that made it", |_, state| is_orphan(state)),
        (bounds.crashes > 0, "a restarted node serves", |_, state| {
            state.crashes > 0 && state.nodes.iter().all(Node::serves)
        }),
        (bounds.cuts > 0, "a healed node serves", |protocol, state| {
            let limit = protocol.bounds.max_staleness;
            let is_well = |node: &Node| !node.cut && node.serves() && node.confirmed <= limit;
            state.cuts > 0 && state.nodes.iter().all(is_well)
        }),
    ];
    let within = table.into_iter().filter(|(is_within, _, _)| *is_within);
    within.map(|(_, name, seen)| Property::sometimes(name, seen)).collect()
}

fn all_acknowledge<const N: usize>(state: &State<N>) -> bool {
    let mut answered = state.changes().filter(|(_, change)| change.barrier == Barrier::Answered);
    answered.any(|(at, _)| state.nodes.iter().all(|node| node.roles[at] == Role::Acknowledged))
}

fn is_held_back(node: &Node) -> bool {
    let straggles = node.straggler.is_some_and(|held| held.epoch == 0);
    straggles && node.snapshot > 0 && node.roles[0] == Role::Awaited
}

fn is_rotation_late<const N: usize>(state: &State<N>) -> bool {
    let is_due = |node: &Node| state.rings[usize::from(node.snapshot)].primary() == Some(1);
    state.ring().primary() != Some(1) && state.nodes.iter().any(|node| node.serves() && is_due(node))
}

fn is_orphan<const N: usize>(state: &State<N>) -> bool {
    state.epoch == 1
        && state.nodes.iter().any(|node| node.phase == Phase::Down)
        && state.nodes.iter().all(|node| node.snapshot == 0 && node.reply.is_none())
}

/// A node that still serves lacks the version that signs elsewhere, and says this.
fn is_looked_up<const N: usize>(protocol: &Protocol<N>, state: &State<N>, cut: bool, says: Verdict) -> bool {
    let Some(primary) = state.ring().primary() else { return false };
    state.nodes.iter().filter(|node| node.cut == cut && node.serves()).any(|node| {
        state.rings[usize::from(node.snapshot)].state_of(primary).is_none()
            && node.confirmed <= protocol.bounds.max_staleness
            && node.held().all(|held| protocol.verdict(state, node, held, primary) == says)
    })
}
