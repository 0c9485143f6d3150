//! What may happen in a state.

use super::Protocol;
use crate::action::{Action, Outcome, Wrong};
use crate::guard::Guard;
use crate::ring::{Command, VersionState};
use crate::state::{Barrier, Node, Phase, Role, State};

impl<const N: usize> Protocol<N> {
    pub(super) fn enabled(&self, state: &State<N>, actions: &mut Vec<Action>) {
        if self.may_tick(state) {
            actions.push(Action::Tick);
        }
        for (at, change) in state.changes() {
            match change.barrier {
                Barrier::Committed => {
                    actions.push(Action::ReadLive(at));
                    if !self.holds(Guard::LiveFromDatabase) {
                        actions.extend((0..N).map(|only| Action::Wrong(Wrong::ReadRedis(at, only))));
                    }
                }
                Barrier::Waiting => actions.push(Action::Answer(at)),
                Barrier::None | Barrier::Answered | Barrier::Past => {}
            }
        }
        for (at, node) in state.nodes.iter().enumerate() {
            // Its twin is before it, and what it could do leads to the same states.
            if !self.verbatim && at > 0 && *node == state.nodes[at - 1] {
                continue;
            }
            self.fate(state, at, node, actions);
            self.news(state, at, node, actions);
            self.acknowledgements(state, at, node, actions);
            if node.phase == Phase::Ready && !node.cut && state.epoch < self.bounds.changes {
                self.commits(state, at, node, actions);
            }
            if self.removed.is_some() {
                self.wrong(state, at, node, actions);
            }
        }
        if self.begins() && state.begun.is_none() && state.epoch < self.bounds.changes {
            actions.push(Action::Wrong(Wrong::Begin(Command::Compromise(1))));
        }
    }

    /// Whether a transaction's start is a step of its own.
    pub(super) fn begins(&self) -> bool {
        !self.holds(Guard::EffectiveFromCommit) || !self.holds(Guard::LiveReadAfterCommit)
    }

    fn may_tick(&self, state: &State<N>) -> bool {
        let has_polled =
            |node: &Node| node.cut || !node.serves() || (node.confirmed == 0 && node.reply.is_none());
        !self.bounds.punctual || !self.holds(Guard::PollFloor) || state.nodes.iter().all(has_polled)
    }

    fn fate(&self, state: &State<N>, at: usize, node: &Node, actions: &mut Vec<Action>) {
        if node.is_up() && state.crashes < self.bounds.crashes {
            actions.push(Action::Fall(at));
        }
        if !node.is_up() && !node.cut {
            actions.push(Action::Start(at));
        }
        if node.cut {
            actions.push(Action::Heal(at));
        } else if node.is_up() && state.cuts < self.bounds.cuts {
            actions.push(Action::Cut(at));
        }
    }

    fn news(&self, state: &State<N>, at: usize, node: &Node, actions: &mut Vec<Action>) {
        if self.holds(Guard::PollFloor) {
            actions.push(Action::Poll(at));
        }
        if node.is_up() {
            // One that was heard before, and one that nobody sent.
            actions.push(Action::Hint(at, node.snapshot));
            actions.push(Action::Hint(at, state.epoch + 1));
        }
        if self.bounds.heartbeat > 0 && node.row.is_some_and(|age| age > 0) && !node.cut {
            actions.push(Action::Heartbeat(at));
        }
        if let Some(reply) = node.reply {
            actions.push(Action::Receive(at, false));
            if reply.epoch > node.snapshot && self.may_straggle(node) {
                actions.push(Action::Receive(at, true));
            }
        }
        if node.straggler.is_some() {
            actions.push(Action::Finish(at));
        }
    }

    /// Whether a request can have come before a swap that happens now.
    fn may_straggle(&self, node: &Node) -> bool {
        node.serves() && (node.confirmed <= self.bounds.max_staleness || self.removed.is_some())
    }

    fn acknowledgements(&self, state: &State<N>, at: usize, node: &Node, actions: &mut Vec<Action>) {
        for (change, _) in state.changes().filter(|(_, change)| change.barrier == Barrier::Waiting) {
            if node.roles[change] == Role::Awaited {
                if self.may_acknowledge(node, change) {
                    actions.push(Action::Acknowledge(at, change));
                }
                if !self.holds(Guard::AckIsAuthenticated) {
                    actions.push(Action::Wrong(Wrong::Forge(at, change)));
                }
            }
        }
    }

    fn may_acknowledge(&self, node: &Node, change: usize) -> bool {
        let has_swapped = usize::from(node.snapshot) > change || !self.holds(Guard::AckAfterSwap);
        let is_held = node.straggler.is_some_and(|held| {
            let counts = self.holds(Guard::AckCountsAllOlder) || held.epoch + 1 == node.snapshot;
            counts && usize::from(held.epoch) <= change
        });
        node.phase == Phase::Ready && has_swapped && (!is_held || !self.holds(Guard::AckAfterDrain))
    }

    fn commits(&self, state: &State<N>, at: usize, node: &Node, actions: &mut Vec<Action>) {
        let mut commit = |command| {
            actions.push(Action::Commit(at, command, Outcome::Lost));
            actions.push(Action::Commit(at, command, Outcome::Known(false)));
            if self.may_straggle(node) {
                actions.push(Action::Commit(at, command, Outcome::Known(true)));
            }
        };
        if self.begins() {
            state.begun.into_iter().for_each(|(command, _)| commit(command));
            return;
        }
        // The scheduler asks its snapshot. A new primary is not due.
        if state.rings[usize::from(node.snapshot)].primary() == Some(1) {
            commit(Command::Rotate { due: 1 });
        }
        for row in state.ring().rows() {
            match row.state {
                VersionState::Active | VersionState::Deactivated => {
                    commit(Command::Compromise(row.version));
                    if self.bounds.lifecycle {
                        commit(Command::Suspend(row.version));
                        if self.may_retire(state, row.version) {
                            commit(Command::Retire(row.version));
                        }
                    }
                }
                VersionState::Suspended => {
                    commit(Command::Compromise(row.version));
                    commit(Command::Resume(row.version));
                }
                VersionState::Standby | VersionState::Compromised | VersionState::Retired => {}
            }
        }
    }

    /// Grace, with tokens that expire at once: all that is left to wait for is the last node that signs.
    fn may_retire(&self, state: &State<N>, version: u8) -> bool {
        let touched = state.changes().filter(|(_, change)| match change.command {
            Command::Rotate { due: other }
            | Command::Compromise(other)
            | Command::Suspend(other)
            | Command::Resume(other)
            | Command::Retire(other) => other == version,
        });
        let age = touched.map(|(_, change)| change.age).min();
        !self.holds(Guard::GraceCoversStaleness) || age.is_some_and(|age| age > self.bounds.max_staleness)
    }

    fn wrong(&self, state: &State<N>, at: usize, node: &Node, actions: &mut Vec<Action>) {
        let mut push = |wrong| actions.push(Action::Wrong(wrong));
        if !self.holds(Guard::ConfirmFromPrimary) {
            (0..state.epoch).for_each(|epoch| push(Wrong::Replica(at, epoch)));
        }
        if !self.holds(Guard::ConfirmAfterCatchUp) && node.serves() && node.reply.is_some() {
            push(Wrong::ConfirmOnly(at));
        }
        if node.phase == Phase::Loaded {
            push(Wrong::Register(at));
        }
        if !self.holds(Guard::DrainBeforeLeave) && node.phase == Phase::Ready {
            push(Wrong::Leave(at));
        }
        if !self.holds(Guard::RowPerBoot) && node.phase == Phase::Down {
            (0..N).filter(|other| *other != at).for_each(|other| push(Wrong::TakeOver(at, other)));
        }
        if !self.holds(Guard::UnknownIsNotKept) && node.serves() && !node.cut {
            let next = state.ring().rows().map(|row| row.version).max().unwrap_or(0) + 1;
            push(Wrong::Probe(at, next));
        }
        if !self.holds(Guard::FenceInRequest) && node.confirmed > self.bounds.max_staleness {
            push(Wrong::Timer(at));
        }
    }
}
