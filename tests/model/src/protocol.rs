//! The model: what may happen in a state, and what comes of it.

mod enabled;
mod step;

use stateright::{Model, Property};

use crate::action::Action;
use crate::bounds::Bounds;
use crate::guard::Guard;
use crate::state::{Age, Barrier, Node, Role, State};

/// The protocol with N nodes.
#[derive(Clone, Copy, Debug)]
pub struct Protocol<const N: usize> {
    /// How much may go wrong.
    pub bounds: Bounds,
    /// The rule that is not kept, to show that it is needed.
    pub removed: Option<Guard>,
    /// Forgets nothing and sorts nothing: many more states, to show that nothing hides in what is forgotten.
    pub verbatim: bool,
}

impl<const N: usize> Protocol<N> {
    /// The protocol as it should be.
    #[must_use]
    pub fn whole(bounds: Bounds) -> Self {
        Self { bounds, removed: None, verbatim: false }
    }

    /// The protocol without one of its rules.
    #[must_use]
    pub fn without(guard: Guard, bounds: Bounds) -> Self {
        Self { bounds, removed: Some(guard), verbatim: false }
    }

    /// The same, state by state as it comes.
    #[must_use]
    pub fn verbatim(self) -> Self {
        Self { verbatim: true, ..self }
    }

    pub(crate) fn holds(&self, guard: Guard) -> bool {
        self.removed != Some(guard)
    }

    /// Forgets what nothing will ask for again, and sorts. Steps that differ only in that lead to one state.
    fn settle(&self, state: &mut State<N>) {
        let stale = self.bounds.max_staleness;
        for (at, change) in state.changes.iter_mut().enumerate() {
            // From here on the age alone forbids every use, whatever was answered.
            if let Some(change) =
                change.as_mut().filter(|change| change.age > stale && change.effective > stale)
            {
                change.barrier = match change.barrier {
                    Barrier::None | Barrier::Committed | Barrier::Waiting => Barrier::None,
                    Barrier::Answered | Barrier::Past => Barrier::Past,
                };
                state.nodes.iter_mut().for_each(|node| node.roles[at] = Role::Out);
            }
        }
        let asks = state.changes().any(|(_, change)| change.barrier == Barrier::Committed);
        let asks = asks || state.epoch < self.bounds.changes;
        for node in &mut state.nodes {
            // Only a barrier asks who is live.
            if !asks && node.row.is_some() {
                node.row = Some(0);
            }
            if self.removed.is_none() {
                Self::settle_node(node, stale);
            }
        }
        state.nodes.sort_unstable();
    }

    /// What is idle only while every rule is kept.
    fn settle_node(node: &mut Node, stale: Age) {
        // A request that would be refused in any case has ended; a poll that took too long has failed.
        node.straggler = node.straggler.filter(|held| held.age <= stale);
        node.reply = node.reply.filter(|reply| {
            let is_news = !node.serves() || reply.epoch > node.snapshot;
            reply.age <= stale && (is_news || (reply.epoch == node.snapshot && reply.age < node.confirmed))
        });
    }
}

impl<const N: usize> Model for Protocol<N> {
    type State = State<N>;
    type Action = Action;

    fn init_states(&self) -> Vec<State<N>> {
        vec![State::first()]
    }

    fn actions(&self, state: &State<N>, actions: &mut Vec<Action>) {
        self.enabled(state, actions);
    }

    fn next_state(&self, state: &State<N>, action: Action) -> Option<State<N>> {
        let mut next = *state;
        self.step(&mut next, action)?;
        if !self.verbatim {
            self.settle(&mut next);
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        crate::properties::all(self)
    }
}
