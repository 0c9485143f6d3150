//! Why an incident was refused.

/// A refusal. It carries no input; `service` maps each to a problem code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IncidentError {
    /// A member of the request breaks a rule.
    #[error("{0}")]
    Invalid(&'static str),
    /// There is no such incident.
    #[error("there is no such incident")]
    NotFound,
    /// There is nothing of this name to open one about.
    #[error("{0}")]
    NoTarget(&'static str),
    /// It is not in a state that allows it.
    #[error("{0}")]
    Conflict(&'static str),
    /// There are as many as may be open.
    #[error("there are 1000 incidents that are not over; approve or close some first")]
    TooMany,
}
