//! Failures of the engine → problem codes, in one place.

use chrono::SecondsFormat;
use claviger_actors::{
    access::AccessError,
    devices::DeviceError,
    incidents::IncidentError,
    keyring::{RingFailure, Unusable, core::RingError},
    masters::MasterFailure,
    tokens::TokenFailure,
};
use claviger_crypto::{CryptoError, MaterialError};

use super::problem::{Code, Problem};

impl From<RingError> for Problem {
    fn from(error: RingError) -> Self {
        let detail = error.to_string();
        match error {
            RingError::Invalid(_) => Self::invalid(detail),
            RingError::Unsupported(_) => Self::new(Code::UnsupportedOperation, detail),
            RingError::KeyNotFound => Self::new(Code::KeyNotFound, detail),
            RingError::VersionNotFound => Self::new(Code::VersionNotFound, detail),
            RingError::KeyExists | RingError::KidExists => Self::new(Code::KeyExists, detail),
            RingError::StateConflict(_) | RingError::Quarantined => Self::new(Code::KeyStateConflict, detail),
            RingError::StandbyTooYoung { earliest } => Self::new(Code::StandbyTooYoung, detail)
                .with("earliest_activation", earliest.to_rfc3339_opts(SecondsFormat::Millis, true)),
            RingError::RevisionMismatch => Self::new(Code::PreconditionFailed, detail),
        }
    }
}

impl From<RingFailure> for Problem {
    fn from(failure: RingFailure) -> Self {
        match failure {
            RingFailure::Refused(error) => error.into(),
            RingFailure::Access(error) => error.into(),
            RingFailure::Device(error) => error.into(),
            RingFailure::Incident(error) => error.into(),
            RingFailure::ActorGone => Self::new(Code::Unauthorized, failure.to_string()),
            RingFailure::NotPermitted => Self::new(Code::Forbidden, failure.to_string()),
            RingFailure::Material(error) => error.into(),
            RingFailure::IdempotencyMismatch => Self::invalid(failure.to_string()),
            RingFailure::Overloaded | RingFailure::Stopped => {
                Self::new(Code::Overloaded, failure.to_string())
            }
            RingFailure::Storage(ref cause) => {
                tracing::error!(error = %failure, ?cause, "a change was not confirmed");
                Self::new(Code::Overloaded, failure.to_string())
            }
            RingFailure::Rewound => Self::new(Code::StaleNode, failure.to_string()),
            RingFailure::Seal => {
                tracing::error!(error = %failure, "sealing failed");
                Self::new(Code::Internal, "the service failed; its log says why")
            }
        }
    }
}

impl From<TokenFailure> for Problem {
    fn from(failure: TokenFailure) -> Self {
        match failure {
            TokenFailure::Overloaded | TokenFailure::Full | TokenFailure::Crowded => {
                Self::new(Code::Overloaded, failure.to_string())
            }
            TokenFailure::Storage(ref cause) => {
                tracing::error!(error = %failure, ?cause, "a change of tokens was not confirmed");
                Self::new(Code::Overloaded, failure.to_string())
            }
            TokenFailure::Primitive => {
                tracing::error!(error = %failure, "tokens can't be hashed");
                Self::new(Code::Internal, "the service failed; its log says why")
            }
        }
    }
}

impl From<MasterFailure> for Problem {
    fn from(failure: MasterFailure) -> Self {
        let detail = failure.to_string();
        match failure {
            MasterFailure::NoOther | MasterFailure::UnderWay => Self::new(Code::KeyStateConflict, detail),
            MasterFailure::Lacking(nodes) => {
                let detail = format!("{detail}: {}", nodes.join(", "));
                Self::new(Code::KeyStateConflict, detail).with("nodes", nodes)
            }
            MasterFailure::Locked => Self::new(Code::Sealed, detail),
            MasterFailure::File(ref cause) => {
                tracing::error!(error = %detail, ?cause, "the master was not rotated");
                Self::new(Code::Internal, detail)
            }
            MasterFailure::Storage(ref cause) => {
                tracing::error!(error = %detail, ?cause, "the rotation of the master was not confirmed");
                Self::new(Code::Overloaded, detail)
            }
        }
    }
}

impl From<AccessError> for Problem {
    fn from(error: AccessError) -> Self {
        let detail = error.to_string();
        match error {
            AccessError::Invalid(_) => Self::invalid(detail),
            AccessError::ApiKeyNotFound | AccessError::PolicyNotFound => Self::new(Code::NotFound, detail),
            AccessError::LastAdministrator => Self::new(Code::KeyStateConflict, detail),
            AccessError::RevisionMismatch => Self::new(Code::PreconditionFailed, detail),
        }
    }
}

impl From<DeviceError> for Problem {
    fn from(error: DeviceError) -> Self {
        let detail = error.to_string();
        match error {
            DeviceError::Invalid(_) => Self::invalid(detail),
            DeviceError::NotFound | DeviceError::NotPaired | DeviceError::NoRequest => {
                Self::new(Code::NotFound, detail)
            }
            DeviceError::Changed | DeviceError::TooManyDevices => Self::new(Code::KeyStateConflict, detail),
            DeviceError::TooManyRequests => Self::new(Code::Overloaded, detail),
            DeviceError::StillWaits => Self::new(Code::RateLimited, detail),
        }
    }
}

impl From<IncidentError> for Problem {
    fn from(error: IncidentError) -> Self {
        let detail = error.to_string();
        match error {
            IncidentError::Invalid(_) => Self::invalid(detail),
            IncidentError::NotFound | IncidentError::NoTarget(_) => Self::new(Code::NotFound, detail),
            IncidentError::Conflict(_) | IncidentError::TooMany => Self::new(Code::KeyStateConflict, detail),
        }
    }
}

impl From<Unusable> for Problem {
    fn from(error: Unusable) -> Self {
        let detail = error.to_string();
        match error {
            Unusable::Ring(error) => error.into(),
            Unusable::UnknownKid => Self::new(Code::DecryptionFailed, detail),
            Unusable::State(_) | Unusable::BelowMinimum | Unusable::NoPrimary(_) => {
                Self::new(Code::KeyStateConflict, detail)
            }
            Unusable::Material => {
                tracing::error!("the material of a version could not be opened");
                Self::new(Code::Internal, "the service failed; its log says why")
            }
        }
    }
}

impl From<MaterialError> for Problem {
    fn from(error: MaterialError) -> Self {
        match error {
            MaterialError::Unfit(rule) => Self::invalid(rule),
            MaterialError::Primitive => Self::new(Code::Internal, "the service failed; its log says why"),
        }
    }
}

impl From<CryptoError> for Problem {
    fn from(error: CryptoError) -> Self {
        let detail = error.to_string();
        match error {
            CryptoError::Unsupported(_) => Self::new(Code::UnsupportedOperation, detail),
            CryptoError::Malformed(_) => Self::invalid(detail),
            CryptoError::Refused => Self::new(Code::DecryptionFailed, detail),
            CryptoError::Spent => Self::new(Code::KeyStateConflict, detail),
            CryptoError::Uncounted => Self::new(Code::Overloaded, detail),
            CryptoError::Primitive => {
                tracing::error!("a cryptographic primitive failed");
                Self::new(Code::Internal, "the service failed; its log says why")
            }
        }
    }
}
