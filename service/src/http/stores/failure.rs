//! Failures of the stores → problem codes.

use claviger_actors::stores::{Refusal, Store, StoresFailure};

use super::place;
use crate::{
    http::problem::{Code, Problem},
    providers::{CallError, ExchangeFailure, Fault, LogoutFailure, RefreshFailure},
};

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

impl From<RefreshFailure> for Problem {
    fn from(failure: RefreshFailure) -> Self {
        let detail = failure.to_string();
        match failure {
            RefreshFailure::Missing => place::missing(Store::AuthTokens),
            RefreshFailure::Reauthenticate => Self::new(Code::ReauthRequired, detail),
            RefreshFailure::InProgress => Self::new(Code::RefreshInProgress, detail),
            RefreshFailure::Unavailable => Self::new(Code::ProviderUnavailable, detail),
            RefreshFailure::Stores(failure) => failure.into(),
        }
    }
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Fault(Fault::Refused) => Self::new(
                Code::ReauthRequired,
                "the provider refuses the code, which may be spent; the user must log in anew",
            ),
            CallError::Fault(Fault::Request) => Self::invalid("the provider does not accept the request"),
            CallError::Busy => Self::new(Code::Overloaded, error.to_string()),
            CallError::Fault(Fault::Client | Fault::Status(_) | Fault::Malformed)
            | CallError::Outgoing(_)
            | CallError::Keys => {
                Self::new(Code::ProviderUnavailable, format!("the provider can't be asked: {error}"))
            }
        }
    }
}

impl From<ExchangeFailure> for Problem {
    fn from(failure: ExchangeFailure) -> Self {
        let detail = failure.to_string();
        match failure {
            ExchangeFailure::Unknown => Self::new(Code::UnsupportedOperation, detail),
            ExchangeFailure::Provider(error) => error.into(),
            ExchangeFailure::InProgress => Self::new(Code::RefreshInProgress, detail),
            ExchangeFailure::Gone => Self::new(Code::ReauthRequired, detail),
            ExchangeFailure::Changed => Self::new(Code::PreconditionFailed, detail),
            ExchangeFailure::NotPermitted => Self::new(Code::Forbidden, detail),
            ExchangeFailure::Lost => Self::new(Code::Internal, detail),
            ExchangeFailure::Stores(failure) => failure.into(),
        }
    }
}

impl From<LogoutFailure> for Problem {
    fn from(failure: LogoutFailure) -> Self {
        let detail = failure.to_string();
        match failure {
            LogoutFailure::Missing => place::missing(Store::AuthTokens),
            LogoutFailure::Provider(CallError::Busy) | LogoutFailure::Overtaken => {
                Self::new(Code::Overloaded, detail)
            }
            LogoutFailure::Provider(_) => Self::new(Code::ProviderUnavailable, detail),
            LogoutFailure::Stores(failure) => failure.into(),
        }
    }
}
