//! Incidents through the one writer of the ring: opening, approving, ending and closing them, and changes of the ring that are steps of one.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    IncidentError, IncidentRecord, Mode, StepRecord,
    core::{Move, State},
    plan::{self, Asked},
};
use crate::{
    keyring::{Position, RingCommand, RingFailure, Snapshot, record::Time},
    seal::Keychain,
    store::{ChangeSet, IncidentWrite, LogLine},
};

/// What an answer names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct IncidentSubject {
    /// Which.
    pub id: Uuid,
    /// How far it is.
    pub state: State,
}

/// What can happen to incidents.
pub(crate) enum IncidentCommand {
    /// A new one.
    Open {
        /// Identity, drawn by the shell.
        id: Uuid,
        /// What is asked for.
        asked: Asked,
        /// The rest of it.
        about: Box<About>,
    },
    /// Somebody wants it done, or says that it is over.
    Move {
        /// Which.
        id: Uuid,
        /// What.
        to: Move,
        /// Who.
        by: String,
        /// The last step, with the end.
        step: Option<StepRecord>,
    },
}

/// What an incident is opened with.
pub(crate) struct About {
    pub(crate) level: super::Level,
    pub(crate) mode: Mode,
    pub(crate) reason: String,
    pub(crate) by: String,
    /// `iss` of our own tokens.
    pub(crate) own_issuer: String,
}

/// What a command does, decided but not yet written.
pub(crate) struct IncidentChange {
    record: IncidentRecord,
    is_new: bool,
    event: &'static str,
    step: Option<StepRecord>,
}

impl RingCommand for IncidentCommand {
    type Change = IncidentChange;
    type Subject = IncidentSubject;

    fn decide(self, base: &Snapshot, now: Time) -> Result<IncidentChange, RingFailure> {
        match self {
            Self::Open { id, asked, about } => {
                if !base.standing().has_room() {
                    return Err(IncidentError::TooMany.into());
                }
                let (plan, bars) = plan::plan(base, &asked, &about.own_issuer)?;
                let state = about.mode.state();
                let record = IncidentRecord {
                    id,
                    since: plan::since(base, &asked),
                    target: asked.target,
                    level: about.level,
                    state,
                    reason: about.reason,
                    plan,
                    bars,
                    opened_by: about.by,
                    opened_at: now,
                    approved_by: None,
                    approved_at: (state == State::Running).then_some(now),
                    finished_at: None,
                    closed_at: None,
                };
                Ok(IncidentChange { record, is_new: true, event: "incident.opened", step: None })
            }
            Self::Move { id, to, by, step } => {
                let mut record = IncidentRecord::clone(base.standing().find(id)?);
                record.state = record.state.after(to).map_err(IncidentError::Conflict)?;
                let event = match to {
                    Move::Approve => {
                        (record.approved_by, record.approved_at) = (Some(by), Some(now));
                        record.finished_at = None;
                        "incident.approved"
                    }
                    Move::Finish(_) => {
                        record.finished_at = Some(now);
                        "incident.finished"
                    }
                    Move::Close => {
                        record.closed_at = Some(now);
                        "incident.closed"
                    }
                };
                Ok(IncidentChange { record, is_new: false, event, step })
            }
        }
    }

    fn subject(change: &IncidentChange) -> IncidentSubject {
        IncidentSubject { id: change.record.id, state: change.record.state }
    }

    fn describe(change: &IncidentChange) -> Value {
        let record = &change.record;
        json!({
            "event": change.event,
            "incident": record.id,
            "incident_step": change.step.as_ref().map(|step| step.place),
            "target": record.target,
            "level": record.level,
            "state": record.state,
            "reason": record.reason,
        })
    }

    fn fill(change: &IncidentChange, set: &mut ChangeSet) {
        set.incident = Some(IncidentWrite {
            record: change.record.clone(),
            is_new: change.is_new,
            repeats: (change.event == "incident.approved").then(|| change.record.plan.repeated()),
        });
        set.incident_step.clone_from(&change.step);
        set.lines = vec![LogLine::of(change.event, format!("incident/{}", change.record.id))];
    }

    fn evolve(change: IncidentChange, base: &Snapshot, position: Position) -> Snapshot {
        base.with_standing(position, base.standing().with(change.record))
    }
}

/// A change of the ring that is a step of an incident: its outcome is part of its transaction.
pub(crate) struct InIncident<C> {
    pub(crate) command: C,
    pub(crate) step: StepRecord,
}

impl<C: RingCommand> RingCommand for InIncident<C> {
    type Change = (C::Change, StepRecord);
    type Subject = C::Subject;

    fn decide(self, base: &Snapshot, now: Time) -> Result<Self::Change, RingFailure> {
        let Self { command, mut step } = self;
        let change = command.decide(base, now)?;
        step.at = now;
        if let Some(outcome) = step.outcome.as_object_mut() {
            outcome.insert("epoch".to_owned(), (base.epoch.0 + 1).into());
        }
        Ok((change, step))
    }

    fn seal(change: &mut Self::Change, keychain: &Keychain) -> Result<(), RingFailure> {
        C::seal(&mut change.0, keychain)
    }

    fn ended(change: &Self::Change, base: &Snapshot) -> Vec<String> {
        C::ended(&change.0, base)
    }

    fn settles(change: &Self::Change) -> Option<Uuid> {
        C::settles(&change.0)
    }

    fn subject(change: &Self::Change) -> C::Subject {
        C::subject(&change.0)
    }

    fn describe(change: &Self::Change) -> Value {
        let mut described = C::describe(&change.0);
        if let Some(members) = described.as_object_mut() {
            members.insert("incident".to_owned(), json!(change.1.incident));
            members.insert("incident_step".to_owned(), json!(change.1.place));
        }
        described
    }

    fn fill(change: &Self::Change, set: &mut ChangeSet) {
        C::fill(&change.0, set);
        set.incident_step = Some(change.1.clone());
    }

    fn evolve(change: Self::Change, base: &Snapshot, position: Position) -> Snapshot {
        C::evolve(change.0, base, position)
    }
}
