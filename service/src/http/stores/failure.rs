//! Failures of the stores → problem codes.

use claviger_actors::stores::{Refusal, Store, StoresFailure};

use super::place;
use crate::http::problem::{Code, Problem};

/// A change that was refused.
pub(super) fn refused(refusal: Refusal, store: Store) -> Problem {
    match refusal {
        Refusal::Precondition => Problem::new(Code::PreconditionFailed, refusal.to_string()),
        Refusal::Missing => place::missing(store),
        Refusal::NotPermitted => Problem::new(Code::Forbidden, refusal.to_string()),
    }
}

impl From<StoresFailure> for Problem {
    fn from(failure: StoresFailure) -> Self {
        let detail = failure.to_string();
        match failure {
            StoresFailure::Damaged => Self::new(Code::KeyStateConflict, detail),
            StoresFailure::Key(error) => error.into(),
            StoresFailure::ActorGone => Self::new(Code::Unauthorized, detail),
            StoresFailure::NotPermitted => Self::new(Code::Forbidden, detail),
            StoresFailure::TooLong => Self::new(Code::PayloadTooLarge, detail),
            StoresFailure::IdempotencyMismatch => Self::invalid(detail),
            StoresFailure::Behind => Self::new(Code::StaleNode, detail),
            StoresFailure::Storage(cause) => {
                tracing::error!(?cause, "the stores are not available");
                Self::new(Code::Overloaded, detail)
            }
        }
    }
}
