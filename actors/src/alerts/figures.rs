//! What the monitor is told by whoever serves requests.

use crate::keyring::record::Time;

/// Counters and states of this node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    /// Tokens, signatures and codes that were verified, whatever came of it.
    pub verifications: u64,
    /// Those of them that no key of ours has made, as far as the verifier can tell.
    pub failures: u64,
    /// How many signatures and verifications took up to each bound, as [`Reading`](crate::figures::Reading) has them.
    pub operations: Vec<u64>,
    /// Requests that were refused for the lack of a right or a credential.
    pub denied: u64,
    /// Records can be written.
    pub audit: bool,
    /// How the schedule of backups is kept; `None` = there is none, or it is not known yet.
    pub backups: Option<Scheduled>,
    /// Certificates of the node.
    pub certificates: Vec<Expiring>,
}

/// How the schedule of backups is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheduled {
    /// When the next one after the last that was made is due, or was.
    pub due_at: Time,
    /// This node has not made the last one that it had taken on, and nobody has since.
    pub failed: bool,
}

/// Something that ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiring {
    /// What it goes by, the same on every node that has it.
    pub name: String,
    /// When.
    pub at: Time,
}

/// Whoever serves requests.
pub trait Watched: Send {
    /// A look, which must take no time.
    fn look(&self) -> Sample;
}
