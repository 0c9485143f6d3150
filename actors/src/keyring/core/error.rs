//! Why a command was refused.

use super::super::record::Time;

/// A refusal by the ring. It carries no input and no secret; `service` maps each to a problem code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// A member of the request breaks a rule.
    #[error("{0}")]
    Invalid(&'static str),
    /// The key's type or usage does not know this operation.
    #[error("{0}")]
    Unsupported(&'static str),
    /// No key of this name.
    #[error("there is no such key")]
    KeyNotFound,
    /// The key has no such version.
    #[error("the key has no such version")]
    VersionNotFound,
    /// The name is taken, by a deleted key too.
    #[error("a key of this name exists or existed; names are not reused, choose another")]
    KeyExists,
    /// The `kid` is or was in use.
    #[error("this material or kid is or was part of the ring; a kid is never reused")]
    KidExists,
    /// The key or version is not in a state that allows it.
    #[error("{0}")]
    StateConflict(&'static str),
    /// The row was changed from outside.
    #[error(
        "the key's row in the database was changed from outside and is quarantined; restore it from a backup"
    )]
    Quarantined,
    /// The lead has not passed.
    #[error(
        "the standby version has not been published for its lead time; wait until earliest_activation, or force with a reason"
    )]
    StandbyTooYoung {
        /// When it may be activated.
        earliest: Time,
    },
    /// `If-Match` names another revision.
    #[error("the key has changed since the ETag that If-Match names; read it again")]
    RevisionMismatch,
}
