//! Why a change of devices was refused.

/// A refusal. It carries no input and no secret; `service` maps each to a problem code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// A member of the request breaks a rule.
    #[error("{0}")]
    Invalid(&'static str),
    /// No such device, or it was removed.
    #[error("there is no such device")]
    NotFound,
    /// The device was not approved for this role.
    #[error("the device is not paired for this role")]
    NotPaired,
    /// No such request, or no longer.
    #[error(
        "there is no such pairing request: it was settled or has expired; the device asks anew when it connects"
    )]
    NoRequest,
    /// The device has other roles than those by which the caller was judged.
    #[error("the device was changed meanwhile; try again")]
    Changed,
    /// So many requests wait that no more are taken.
    #[error("too many pairing requests wait; approve or reject some, or try again in 5 minutes")]
    TooManyRequests,
    /// The device has left another request a moment ago.
    #[error("the device has asked for something else a moment ago; it may ask anew in 30 seconds")]
    StillWaits,
    /// So many devices are paired that no more are taken.
    #[error("a deployment has at most 65536 devices; remove some")]
    TooManyDevices,
}
