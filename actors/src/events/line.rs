//! A line of the change log, and its place in it.

use crate::keyring::Epoch;

/// Where a line stands: several may be of one change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The change.
    pub epoch: Epoch,
    /// Within the change.
    pub ordinal: i32,
}

impl Place {
    /// Behind everything of a change.
    #[must_use]
    pub const fn end_of(epoch: Epoch) -> Self {
        Self { epoch, ordinal: i32::MAX }
    }

    /// Nothing of the change comes after it.
    #[must_use]
    pub const fn is_end(self) -> bool {
        self.ordinal == i32::MAX
    }
}

/// A line, as far as events are made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Where it stands.
    pub place: Place,
    /// Such as `key.rotated`.
    pub kind: String,
    /// The key.
    pub key: Option<String>,
    /// The version.
    pub version: Option<i64>,
    /// Its identifier.
    pub kid: Option<String>,
    /// Its state afterwards.
    pub state: Option<String>,
    /// The primary before.
    pub previous_version: Option<i64>,
    /// Why.
    pub reason: Option<String>,
    /// The pairing request that it decides.
    pub settled: Option<Settled>,
    /// The columns name what the record names, which the hash of the log covers.
    pub is_sound: bool,
}

/// A pairing request that was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The request.
    pub request: String,
    /// The device that has asked.
    pub device: String,
    /// What it has asked to be.
    pub role: Option<String>,
}

/// Lines in a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stretch {
    /// They themselves.
    pub lines: Vec<Line>,
    /// The one that comes after them, where that was not the end.
    pub next: Option<Place>,
}
