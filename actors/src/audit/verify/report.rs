//! What a verification has found.

use std::{io, path::Path};

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

/// Something about a place in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// The line in the file, from 1; `None` when it is about the file.
    pub line: Option<u64>,
    /// Number of the record, if it can be read.
    pub seq: Option<u64>,
    /// What it is, in one sentence without its full stop.
    pub what: String,
}

impl Finding {
    pub(super) fn about(file: &Path, what: impl Into<String>) -> Self {
        Self { file: file.display().to_string(), line: None, seq: None, what: what.into() }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(out, ":{line}")?;
        }
        if let Some(seq) = self.seq {
            write!(out, " (seq {seq})")?;
        }
        write!(out, ": {}", self.what)
    }
}

/// One chain of a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Chain {
    /// Its id.
    pub chain: Uuid,
    /// Nodes that wrote it.
    pub nodes: Vec<String>,
    /// Thumbprints of the keys that signed it.
    pub kids: Vec<String>,
    /// Segments that were read.
    pub segments: u64,
    /// Sound records.
    pub records: u64,
    /// Number of the first of them.
    pub first_seq: Option<u64>,
    /// Number of the last of them.
    pub last_seq: Option<u64>,
    /// Sound checkpoints.
    pub checkpoints: u64,
    /// Number of the last of them.
    pub checkpoint_seq: Option<u64>,
    /// When it was signed.
    pub checkpoint_at: Option<DateTime<Utc>>,
    /// Records after it: they are chained, and nobody vouches for them.
    pub unvouched: u64,
    /// The first record of the chain is there: nothing was removed because of its age.
    pub from_start: bool,
}

/// How many checkpoints that are kept elsewhere were held against the folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Anchors {
    /// The folder holds them.
    pub held: u64,
    /// They were removed with their segments.
    pub pruned: u64,
    /// They are of chains that are not in the folder.
    pub elsewhere: u64,
}

/// What a verification has found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Every chain in the folder.
    pub chains: Vec<Chain>,
    /// Every key was held against those that were given.
    pub pinned: bool,
    /// Checkpoints that were given.
    pub anchors: Anchors,
    /// What is wrong: the first place of each chain, then the folder. Empty when the log is whole.
    pub bad: Vec<Finding>,
    /// What is worth knowing, and no damage.
    pub notes: Vec<Finding>,
}

impl Report {
    /// Nothing is wrong.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.bad.is_empty()
    }
}

/// Why a chain is not followed any further.
#[derive(Debug)]
pub(super) enum Stop {
    Bad(Finding),
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
