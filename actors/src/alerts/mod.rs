//! Alerts: what is not as it should be, told once in the deployment.
//!
//! Each node judges what it measures by [`rule`]s ([`core`] says when a figure is an alert and when it is none any more). What it sees it says in the
//! database: the first node that does raises the alert, and it is over when no node says so any more. A node that dies says nothing, so that what
//! only it saw ends too. [`AlertsHandle`] is the only door (docs/decisions/0022).

mod actor;
mod alone;
pub mod core;
#[cfg(test)]
mod core_tests;
mod courier;
mod figures;
mod gather;
mod habits;
mod handle;
mod quiet;
mod record;
mod repeats;
mod routing;
mod rule;

pub(crate) use self::{
    courier::Fate,
    quiet::relevance,
    record::{Doer, Scribe},
};
pub use self::{
    courier::{Deliver, Parcel, Undelivered},
    figures::{Expiring, Sample, Scheduled, Watched},
    habits::KeyUse,
    handle::{AlertError, AlertSettings, AlertsHandle, DeliveryFigures},
    quiet::{Delivery, DeliveryState, RetryError, Silence, SilenceError, silenced_until},
    record::{Acknowledged, AlertRecord, Matter, Told},
    routing::{Kind, Route, Routing},
    rule::{Limits, Override, Rule, Rules, Sense, Severity},
};
