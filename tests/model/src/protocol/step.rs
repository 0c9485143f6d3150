//! What comes of an action; `None` where it changes nothing.

use super::Protocol;
use crate::action::{Action, Outcome, Wrong};
use crate::guard::Guard;
use crate::ring::Command;
use crate::state::{Age, Barrier, Change, Epoch, Node, Phase, Reply, Role, State, Straggler};

impl<const N: usize> Protocol<N> {
    pub(super) fn step(&self, state: &mut State<N>, action: Action) -> Option<()> {
        match action {
            Action::Tick => self.tick(state),
            Action::Fall(at) => {
                state.nodes[at].fall();
                state.crashes += 1;
            }
            Action::Start(at) => self.start(&mut state.nodes[at]),
            Action::Cut(at) => {
                state.nodes[at].cut = true;
                state.cuts += 1;
            }
            Action::Heal(at) => state.nodes[at].cut = false,
            Action::Poll(at) => return self.poll(state, at, state.epoch),
            Action::Hint(at, epoch) => return self.hint(state, at, epoch),
            Action::Heartbeat(at) => state.nodes[at].row = Some(0),
            Action::Receive(at, straggles) => return self.receive(&mut state.nodes[at], straggles),
            Action::Finish(at) => state.nodes[at].straggler = None,
            Action::Commit(at, command, outcome) => return self.commit(state, at, command, outcome),
            Action::Acknowledge(at, change) => state.nodes[at].roles[change] = Role::Acknowledged,
            Action::ReadLive(change) => return self.read_live(state, change, |_| true),
            Action::Answer(change) => state.changes[change].as_mut()?.barrier = Barrier::Answered,
            Action::Wrong(wrong) => return self.wrong_step(state, wrong),
        }
        Some(())
    }

    fn tick(&self, state: &mut State<N>) {
        let oldest = self.bounds.oldest();
        let older = |age: &mut Age| *age = (*age + 1).min(oldest);
        for change in state.changes.iter_mut().flatten() {
            older(&mut change.age);
            older(&mut change.effective);
        }
        if let Some((_, age)) = &mut state.begun {
            older(age);
        }
        // A down node has no ages.
        for node in state.nodes.iter_mut().filter(|node| node.is_up()) {
            if node.serves() {
                older(&mut node.confirmed);
            }
            node.straggler.iter_mut().for_each(|held| older(&mut held.age));
            node.reply.iter_mut().for_each(|reply| older(&mut reply.age));
            node.row.iter_mut().for_each(older);
        }
    }

    fn start(&self, node: &mut Node) {
        node.phase = Phase::Starting;
        node.row = self.holds(Guard::RegisterBeforeLoad).then_some(0);
    }

    fn poll(&self, state: &mut State<N>, at: usize, epoch: Epoch) -> Option<()> {
        let node = &mut state.nodes[at];
        let polls = matches!(node.phase, Phase::Starting | Phase::Ready);
        if !polls || node.cut || node.reply.is_some() {
            return None;
        }
        let needs_row = self.holds(Guard::ConfirmNeedsRow) && self.holds(Guard::RegisterBeforeLoad);
        if needs_row && self.bounds.heartbeat == 0 {
            node.row = Some(0);
        } else if needs_row && node.row.is_none_or(|age| age > self.bounds.heartbeat) {
            return None;
        }
        node.reply = Some(Reply { epoch, age: 0 });
        Some(())
    }

    /// A hint of something that the node has costs nothing, any other a poll.
    fn hint(&self, state: &mut State<N>, at: usize, epoch: Epoch) -> Option<()> {
        let node = &mut state.nodes[at];
        if !self.holds(Guard::HintConfirmsNothing) && node.serves() && epoch <= node.snapshot {
            node.confirmed = 0;
            return Some(());
        }
        if epoch <= node.snapshot {
            return None;
        }
        self.poll(state, at, state.epoch)
    }

    fn receive(&self, node: &mut Node, straggles: bool) -> Option<()> {
        let reply = node.reply.take()?;
        let age = if self.holds(Guard::StalenessFromSend) { reply.age } else { 0 };
        match node.phase {
            // It polls again. Only the two polls need this: whatever it is late with, its row is there.
            Phase::Starting if age > 0 && self.bounds.punctual && self.holds(Guard::CatchUpBeforeReady) => {
                return Some(());
            }
            Phase::Starting if self.holds(Guard::RegisterBeforeLoad) => node.phase = Phase::Ready,
            Phase::Starting => node.phase = Phase::Loaded,
            Phase::Ready | Phase::Leaving => {
                if reply.epoch == node.snapshot {
                    node.confirmed = node.confirmed.min(age);
                    return Some(());
                }
                if reply.epoch < node.snapshot && self.holds(Guard::NeverBack) {
                    return Some(());
                }
            }
            Phase::Down | Phase::Loaded => return None,
        }
        swap(node, reply.epoch, age, straggles);
        Some(())
    }

    fn commit(&self, state: &mut State<N>, at: usize, command: Command, outcome: Outcome) -> Option<()> {
        let seen = if self.holds(Guard::DecideUnderLock) { state.epoch } else { state.nodes[at].snapshot };
        let seen = &state.rings[usize::from(seen)];
        let writes = seen.decide(command, self.holds(Guard::RotationNamesPrimary))?;
        let command = match command {
            Command::Rotate { .. } => Command::Rotate { due: seen.primary()? },
            Command::Compromise(_) | Command::Suspend(_) | Command::Resume(_) | Command::Retire(_) => command,
        };
        let ring = state.ring().with(writes);
        let place = usize::from(state.epoch);
        let mut change = Change { command, age: 0, effective: 0, barrier: Barrier::None };
        if let Some((_, age)) = state.begun.take()
            && !self.holds(Guard::EffectiveFromCommit)
        {
            change.effective = age;
        }
        state.epoch += 1;
        state.rings[usize::from(state.epoch)] = ring;
        let waits = command.revokes().is_some() && outcome != Outcome::Lost;
        if waits {
            change.barrier = Barrier::Committed;
        }
        state.changes[place] = Some(change);
        if let Outcome::Known(straggles) = outcome {
            // Under the lock the node has seen everything, and its row is written with the change.
            state.nodes[at].row = Some(0);
            swap(&mut state.nodes[at], state.epoch, 0, straggles);
            if waits && !self.holds(Guard::SelfIsAwaited) {
                state.nodes[at].roles[place] = Role::Acknowledged;
            }
        }
        Some(())
    }

    /// Waits from here on for the live nodes among those that are asked.
    fn read_live(&self, state: &mut State<N>, change: usize, asked: impl Fn(usize) -> bool) -> Option<()> {
        for (at, node) in state.nodes.iter_mut().enumerate() {
            let is_live =
                if self.holds(Guard::LiveReadAfterCommit) { self.is_live(node) } else { node.listed };
            if is_live && asked(at) && node.roles[change] == Role::Out {
                node.roles[change] = Role::Awaited;
            }
        }
        state.changes[change].as_mut()?.barrier = Barrier::Waiting;
        Some(())
    }

    fn is_live(&self, node: &Node) -> bool {
        let margin = if self.holds(Guard::LiveCoversHeartbeat) { self.bounds.heartbeat } else { 0 };
        node.row.is_some_and(|age| age <= self.bounds.max_staleness + margin)
    }

    fn wrong_step(&self, state: &mut State<N>, wrong: Wrong) -> Option<()> {
        match wrong {
            Wrong::Begin(command) => {
                state.begun = Some((command, 0));
                for node in &mut state.nodes {
                    node.listed = self.is_live(node);
                }
            }
            Wrong::Replica(at, epoch) => return self.poll(state, at, epoch),
            Wrong::ConfirmOnly(at) => {
                let reply = state.nodes[at].reply.take()?;
                state.nodes[at].confirmed = reply.age;
            }
            Wrong::Forge(at, change) => state.nodes[at].roles[change] = Role::Acknowledged,
            Wrong::Register(at) => {
                state.nodes[at].phase = Phase::Ready;
                state.nodes[at].row = Some(0);
            }
            Wrong::Leave(at) => {
                state.nodes[at].phase = Phase::Leaving;
                state.nodes[at].row = None;
            }
            Wrong::TakeOver(at, other) => {
                self.start(&mut state.nodes[at]);
                state.nodes[other].row = None;
            }
            Wrong::ReadRedis(change, only) => return self.read_live(state, change, |at| at == only),
            Wrong::Probe(at, version) => {
                if state.ring().state_of(version).is_some() {
                    return None;
                }
                state.nodes[at].unknown = Some(version);
            }
            Wrong::Timer(at) => state.nodes[at].fenced = true,
        }
        Some(())
    }
}

fn swap(node: &mut Node, epoch: Epoch, age: Age, straggles: bool) {
    if straggles {
        node.straggler = Some(Straggler { epoch: node.snapshot, age: node.confirmed });
    }
    node.snapshot = epoch;
    node.confirmed = age;
    node.fenced = false;
    node.unknown = None;
}
