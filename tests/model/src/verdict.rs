//! What a node would answer at a moment.
//!
//! Requests are not steps: in every state every node is asked for every version, once by a request that uses its snapshot and
//! once by one that came before the last swap. So no order of requests is left out, and they cost no states.

use crate::guard::Guard;
use crate::protocol::Protocol;
use crate::ring::VersionState;
use crate::state::{Age, Epoch, Node, State};

/// An answer to "is this token valid?". Signing with a version needs no less than verifying with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The version is used.
    Valid,
    /// The token is refused.
    Invalid,
    /// 503.
    Unavailable,
}

/// The snapshot that a request holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) epoch: Epoch,
    pub(crate) age: Age,
    pub(crate) straggles: bool,
}

impl Node {
    /// The snapshots that requests of this node hold.
    pub(crate) fn held(&self) -> impl Iterator<Item = Held> {
        let current = Held { epoch: self.snapshot, age: self.confirmed, straggles: false };
        let straggler = self.straggler.map(|held| Held { epoch: held.epoch, age: held.age, straggles: true });
        self.serves().then_some(current).into_iter().chain(straggler)
    }
}

impl<const N: usize> Protocol<N> {
    /// What a request of this node that ends now says of a token of this version.
    pub(crate) fn verdict(&self, state: &State<N>, node: &Node, held: Held, version: u8) -> Verdict {
        if self.is_fenced(node, held) {
            return Verdict::Unavailable;
        }
        if node.unknown == Some(version) && !held.straggles {
            return Verdict::Invalid;
        }
        match state.rings[usize::from(held.epoch)].state_of(version) {
            Some(VersionState::Standby) if !self.holds(Guard::StandbyVerifies) => Verdict::Invalid,
            Some(VersionState::Standby | VersionState::Active | VersionState::Deactivated) => Verdict::Valid,
            Some(VersionState::Compromised | VersionState::Retired) => Verdict::Invalid,
            Some(VersionState::Suspended) if !self.holds(Guard::SuspendedIsLookedUp) => Verdict::Invalid,
            None if !self.holds(Guard::UnknownIsLookedUp) => Verdict::Invalid,
            None if node.cut && !self.holds(Guard::AwayIsNotUnknown) => Verdict::Invalid,
            Some(VersionState::Suspended) | None if node.cut => Verdict::Unavailable,
            Some(VersionState::Suspended) | None => match state.ring().state_of(version) {
                Some(found) if found.verifies() => Verdict::Valid,
                Some(_) | None => Verdict::Invalid,
            },
        }
    }

    /// Whether a request of this node that ends now may sign with this version.
    pub(crate) fn signs(&self, state: &State<N>, node: &Node, held: Held, version: u8) -> bool {
        let ring = &state.rings[usize::from(held.epoch)];
        ring.primary() == Some(version) && !self.is_fenced(node, held)
    }

    fn is_fenced(&self, node: &Node, held: Held) -> bool {
        let age = match held.straggles {
            true if !self.holds(Guard::FenceAtEnd) => 0,
            true if !self.holds(Guard::FenceBySnapshot) => node.confirmed,
            true | false => held.age,
        };
        if self.holds(Guard::FenceInRequest) {
            self.holds(Guard::Fence) && age > self.bounds.max_staleness
        } else {
            node.fenced
        }
    }
}
