//! Figures of this node, for Prometheus.
//!
//! What happens is counted in plain atomics, in places that are fixed at the start or found without a lock: a request costs some tens of
//! nanoseconds and allocates nothing. What can be read from the state of the node is read when somebody asks. No label holds anything
//! that a caller made up: routes, codes and operations are those of the tables, keys those of the ring, and only so many of them.

mod alerts;
mod audit;
mod backups;
mod events;
mod issuers;
mod operations;
mod page;
mod process;
mod providers;
mod requests;
mod scrape;
mod sessions;
mod tokens;
mod verifications;

use std::time::Duration;

use actix_web::HttpResponse;
use claviger_actors::audit::Subject;

use self::{
    operations::Operations,
    requests::{InFlight, Requests},
    verifications::Verifications,
};
use crate::http::{
    problem::Code,
    state::AppState,
    table::{Kind, Route},
};

pub use verifications::Verification;

/// Everything that is counted here.
pub struct Metrics {
    requests: Requests,
    operations: Operations,
    verifications: Verifications,
}

impl Metrics {
    /// Counters at zero; so many keys have series of their own.
    #[must_use]
    pub fn new(keys: usize) -> Self {
        Self {
            requests: Requests::new(),
            operations: Operations::new(keys),
            verifications: Verifications::default(),
        }
    }

    /// A request has come; it is here until this is dropped.
    pub(crate) fn enter(&self) -> InFlight<'_> {
        self.requests.enter()
    }

    /// Requests that are worked on.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.requests.in_flight()
    }

    /// A request was answered.
    pub(crate) fn answered(
        &self,
        state: &AppState,
        route: Option<&'static Route>,
        subject: &Subject,
        response: &HttpResponse,
        took: Duration,
    ) {
        let status = response.status();
        let code = response.extensions().get::<Code>().copied();
        let place = self.requests.place(route);
        self.requests.answered(place, status, code, took);
        let (Some(Route { kind: Kind::Use | Kind::Change, .. }), Some(key)) = (route, &subject.key) else {
            return;
        };
        let items = subject.count.unwrap_or(1);
        let failed = if status.is_success() { subject.failed.unwrap_or(0) } else { items };
        let is_key = || {
            let known = key.parse().map(|name| state.ring.snapshot().key(&name).is_ok());
            known.unwrap_or(false)
        };
        self.operations.count(key, place, (items.saturating_sub(failed), failed), is_key);
    }

    /// So many were verified, whatever came of it.
    pub(crate) fn verified(&self, what: Verification, times: usize) {
        self.verifications.verified(what, times);
    }

    /// What was verified so far, and how much of it no key of ours has made.
    #[must_use]
    pub fn verifications(&self) -> (u64, u64) {
        self.verifications.read()
    }

    /// How many signatures and verifications took up to each bound.
    #[must_use]
    pub fn operation_times(&self) -> Vec<u64> {
        self.requests.operation_times()
    }

    /// Requests that were refused for the lack of a right or a credential.
    #[must_use]
    pub fn denied(&self) -> u64 {
        self.requests.denied()
    }

    /// Something that was to be verified was not valid.
    pub(crate) fn not_valid(&self, what: Verification, reason: &'static str, times: usize) {
        self.verifications.count(what, reason, times);
    }

    /// The text for Prometheus.
    #[must_use]
    pub fn text(&self, state: &AppState) -> String {
        scrape::text(self, state)
    }
}
