//! Incidents as plain data.

use serde_json::Value;
use uuid::Uuid;

use super::{
    Bar, Level, Target, Uses,
    core::{Ended, Outcomes, Playbook, State},
};
use crate::keyring::record::Time;

/// An incident without what came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct IncidentRecord {
    /// Identity.
    pub id: Uuid,
    /// What it is about.
    pub target: Target,
    /// How sure whoever opened it is.
    pub level: Level,
    /// How far it is.
    pub state: State,
    /// Why.
    pub reason: String,
    /// Since when whoever did it may have had what they had.
    pub since: Time,
    /// The steps.
    pub plan: Playbook,
    /// What is shut out while it is in force.
    pub bars: Vec<Bar>,
    /// Who opened it.
    pub opened_by: String,
    /// When.
    pub opened_at: Time,
    /// Who approved it last.
    pub approved_by: Option<String>,
    /// When.
    pub approved_at: Option<Time>,
    /// When its steps were over.
    pub finished_at: Option<Time>,
    /// When it was closed.
    pub closed_at: Option<Time>,
}

impl IncidentRecord {
    /// Every node has to know of it.
    #[must_use]
    pub fn is_standing(&self) -> bool {
        match self.state {
            State::Waiting | State::Watching | State::Running | State::Failed => true,
            State::Done => !self.bars.is_empty(),
            State::Closed => false,
        }
    }

    /// What is shut out now.
    #[must_use]
    pub fn in_force(&self) -> &[Bar] {
        if self.state.bars() { &self.bars } else { &[] }
    }
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRecord {
    /// The incident.
    pub incident: Uuid,
    /// Place of the step in its plan.
    pub place: usize,
    /// How it ended.
    pub ended: Ended,
    /// What came of it.
    pub outcome: Value,
    /// The node that did it.
    pub node: String,
    /// When.
    pub at: Time,
}

/// What one node's log says.
#[derive(Debug, Clone, PartialEq)]
pub struct UseRecord {
    /// The incident.
    pub incident: Uuid,
    /// The node.
    pub node: String,
    /// What was found.
    pub uses: Uses,
    /// When it was looked.
    pub at: Time,
}

/// An incident with what came of it so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Incident {
    /// The incident.
    pub record: IncidentRecord,
    /// What came of its steps.
    pub steps: Vec<StepRecord>,
    /// What the nodes' logs say.
    pub uses: Vec<UseRecord>,
}

impl Incident {
    /// Which steps are over.
    #[must_use]
    pub fn outcomes(&self) -> Outcomes {
        self.steps.iter().map(|step| (step.place, step.ended)).collect()
    }
}

/// What follows from a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The playbook is run.
    Act,
    /// It is run once somebody approves it.
    Ask,
    /// Nothing.
    Watch,
}

impl Mode {
    /// The state that an incident begins in.
    #[must_use]
    pub const fn state(self) -> State {
        match self {
            Self::Act => State::Running,
            Self::Ask => State::Waiting,
            Self::Watch => State::Watching,
        }
    }
}
