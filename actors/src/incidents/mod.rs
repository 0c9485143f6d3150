//! Incidents: a recorded playbook on what is in other hands.
//!
//! [`core`] has the playbook: its steps, what each needs, and which comes next; [`plan`] makes one for a target out of a snapshot. Opening an
//! incident is a change of the ring like any other, so every node knows of it at once. Any live node runs it, under a lease by the database's
//! clock; each step leaves its outcome in the database, in the transaction of what it does where that is one, and otherwise it may be done
//! twice without harm. [`IncidentsHandle`] is the only door.

mod actor;
mod blast;
mod command;
pub mod core;
#[cfg(test)]
mod core_tests;
mod error;
mod handle;
mod notify;
pub mod plan;
mod record;
mod run;
mod standing;
mod target;
mod uses;

pub(crate) use self::command::InIncident;
pub use self::{
    blast::{Blast, Grant},
    command::IncidentSubject,
    error::IncidentError,
    handle::{IncidentSettings, IncidentsHandle, Opening},
    notify::{NoChannels, Notice, Notify},
    record::{Incident, IncidentRecord, Mode, StepRecord, UseRecord},
    standing::Standing,
    target::{Bar, Level, Principal, Target},
    uses::{UseLine, Uses},
};
