//! The playbook as a pure state machine: no clock, no randomness, no I/O.
//!
//! A step is over once its outcome is known, and never before what it needs is. Whoever dies between a step and its outcome does the step again:
//! each is written so that twice is the same as once. So the order in which nodes come and go does not matter to what comes of it.

use std::collections::BTreeMap;

use claviger_entity::{DeviceId, KeyName, Kid, VersionNumber};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::keyring::core::Exposure;

/// One thing to do. Each says all that is needed to do it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// A version is not used until it is compromised: the quick part.
    Suspend {
        /// The key.
        key: KeyName,
        /// The version.
        version: VersionNumber,
    },
    /// A version is in other hands.
    Compromise {
        /// The key.
        key: KeyName,
        /// The version.
        version: VersionNumber,
        /// What leaked with it.
        exposure: Exposure,
    },
    /// An API key is not accepted any more.
    DeleteApiKey {
        /// Which.
        api_key: Uuid,
    },
    /// A device is nobody any more.
    RemoveDevice {
        /// Which.
        device: DeviceId,
    },
    /// Every live node uses what the steps before have changed, or it is known which does not.
    Spread,
    /// The key has a primary: its standby, which clients have had for long.
    Promote {
        /// The key.
        key: KeyName,
    },
    /// Tokens of a version are revoked.
    RevokeVersion {
        /// The key.
        key: KeyName,
        /// The version's identifier.
        kid: Kid,
    },
    /// Families of a key can't be refreshed any more.
    RevokeFamilies {
        /// The key.
        key: KeyName,
    },
    /// Tokens of a `sub` are revoked.
    RevokeSubject {
        /// Which.
        subject: String,
    },
    /// Credentials that a principal has made since are deleted.
    RevokeDependents {
        /// The id of the principal.
        principal: String,
    },
    /// The key by which nodes know each other is replaced, as far as there is one.
    ClusterKey,
    /// What is stored under a version moves to the primary.
    Rewrap {
        /// The version's identifier.
        kid: Kid,
    },
    /// Those who must know are told.
    Notify,
    /// What the nodes' logs say is put together.
    Report,
}

impl Step {
    /// Its name.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Suspend { .. } => "suspend",
            Self::Compromise { .. } => "compromise",
            Self::DeleteApiKey { .. } => "delete_api_key",
            Self::RemoveDevice { .. } => "remove_device",
            Self::Spread => "spread",
            Self::Promote { .. } => "promote",
            Self::RevokeVersion { .. } => "revoke_version",
            Self::RevokeFamilies { .. } => "revoke_families",
            Self::RevokeSubject { .. } => "revoke_subject",
            Self::RevokeDependents { .. } => "revoke_dependents",
            Self::ClusterKey => "cluster_key",
            Self::Rewrap { .. } => "rewrap",
            Self::Notify => "notify",
            Self::Report => "report",
        }
    }
}

impl Step {
    /// The key that it is about.
    #[must_use]
    pub const fn key(&self) -> Option<&KeyName> {
        match self {
            Self::Suspend { key, .. }
            | Self::Compromise { key, .. }
            | Self::Promote { key }
            | Self::RevokeVersion { key, .. }
            | Self::RevokeFamilies { key } => Some(key),
            Self::DeleteApiKey { .. }
            | Self::RemoveDevice { .. }
            | Self::Spread
            | Self::RevokeSubject { .. }
            | Self::RevokeDependents { .. }
            | Self::ClusterKey
            | Self::Rewrap { .. }
            | Self::Notify
            | Self::Report => None,
        }
    }
}

/// A step in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// What to do.
    #[serde(flatten)]
    pub step: Step,
    /// Places of the steps that must be over before.
    pub needs: Vec<usize>,
}

/// All steps, in an order in which they can be done one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Playbook(pub Vec<Planned>);

impl Playbook {
    /// Isolation first; then, once it is everywhere, the rest; then telling; the report at the very end.
    #[must_use]
    pub fn new(isolating: Vec<Step>, following: Vec<Step>) -> Self {
        let mut planned: Vec<Planned> =
            isolating.into_iter().map(|step| Planned { step, needs: Vec::new() }).collect();
        let spread = planned.len();
        planned.push(Planned { step: Step::Spread, needs: (0..spread).collect() });
        planned.extend(following.into_iter().map(|step| Planned { step, needs: vec![spread] }));
        planned.push(Planned { step: Step::Notify, needs: (0..planned.len()).collect() });
        planned.push(Planned { step: Step::Report, needs: (0..planned.len()).collect() });
        Self(planned)
    }

    /// The next step that can be done, at or after a place; `None` when everything is over or waits.
    #[must_use]
    pub fn next(&self, over: &Outcomes, from: usize) -> Option<(usize, &Step)> {
        let is_over = |place: &usize| over.contains_key(place);
        self.0
            .iter()
            .enumerate()
            .skip(from)
            .find(|(place, planned)| !is_over(place) && planned.needs.iter().all(is_over))
            .map(|(place, planned)| (place, &planned.step))
    }

    /// Places of the steps that are done again after others were done again.
    #[must_use]
    pub fn repeated(&self) -> Vec<usize> {
        let is_one = |step: &Step| matches!(step, Step::Spread | Step::Notify | Step::Report);
        let places = self.0.iter().enumerate().filter(|(_, planned)| is_one(&planned.step));
        places.map(|(place, _)| place).collect()
    }

    /// Every step is over.
    #[must_use]
    pub fn is_over(&self, over: &Outcomes) -> bool {
        (0..self.0.len()).all(|place| over.contains_key(&place))
    }
}

/// How a step has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// It was done, by whomever.
    Done,
    /// There was nothing to do.
    Skipped,
    /// It can't be done as things are; whoever mends them approves the incident again.
    Failed,
}

impl Ended {
    /// The text form of the column.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        }
    }

    /// Reads the column.
    #[must_use]
    pub fn from_row(text: &str) -> Option<Self> {
        [Self::Done, Self::Skipped, Self::Failed].into_iter().find(|ended| ended.as_str() == text)
    }
}

/// What has come of steps, by their places.
pub type Outcomes = BTreeMap<usize, Ended>;

/// How far an incident is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing is done until somebody approves it.
    Waiting,
    /// Nothing is done.
    Watching,
    /// A node does its steps.
    Running,
    /// All steps are over.
    Done,
    /// All steps are over, and some can't be done as things are.
    Failed,
    /// Nobody has to do with it any more; nothing is shut out.
    Closed,
}

/// What happens to an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// Somebody wants it done.
    Approve,
    /// Its last step is over; whether one of them has failed.
    Finish(bool),
    /// Somebody says that it is over.
    Close,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Waiting, Self::Watching, Self::Running, Self::Done, Self::Failed, Self::Closed];

    /// The text form of the column.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Watching => "watching",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Closed => "closed",
        }
    }

    /// Reads the column.
    #[must_use]
    pub fn from_row(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// What it shuts out is shut out.
    #[must_use]
    pub const fn bars(self) -> bool {
        match self {
            Self::Running | Self::Done | Self::Failed => true,
            Self::Waiting | Self::Watching | Self::Closed => false,
        }
    }

    /// The state after a move.
    ///
    /// # Errors
    /// One sentence: it can't be made now.
    pub const fn after(self, to: Move) -> Result<Self, &'static str> {
        match (self, to) {
            (Self::Waiting | Self::Watching | Self::Failed, Move::Approve) => Ok(Self::Running),
            (Self::Running, Move::Approve) => Err("the incident is being dealt with"),
            (Self::Done | Self::Closed, Move::Approve) => Err("the incident is over; open another one"),
            (Self::Running, Move::Finish(false)) => Ok(Self::Done),
            (Self::Running, Move::Finish(true)) => Ok(Self::Failed),
            (Self::Waiting | Self::Watching | Self::Done | Self::Failed | Self::Closed, Move::Finish(_)) => {
                Err("the incident is not being dealt with")
            }
            (Self::Waiting | Self::Watching | Self::Done | Self::Failed, Move::Close) => Ok(Self::Closed),
            (Self::Running, Move::Close) => Err("the incident is being dealt with; wait for its end"),
            (Self::Closed, Move::Close) => Err("the incident is closed"),
        }
    }
}
