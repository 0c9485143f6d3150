//! Why a change of access was refused.

/// A refusal. It carries no input and no secret; `service` maps each to a problem code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// A member of the request breaks a rule.
    #[error("{0}")]
    Invalid(&'static str),
    /// No such API key, or it is deleted.
    #[error("there is no such API key")]
    ApiKeyNotFound,
    /// No such policy.
    #[error("there is no such policy")]
    PolicyNotFound,
    /// Nobody could administer the deployment any more.
    #[error(
        "this is the last administrator whose credential does not expire; create another API key with the role admin first"
    )]
    LastAdministrator,
    /// `If-Match` names another revision.
    #[error("the policy has changed since the ETag that If-Match names; read it again")]
    RevisionMismatch,
}
