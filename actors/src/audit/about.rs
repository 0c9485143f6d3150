//! What the log says of itself, by event.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{
    line::{self, Head, Line},
    signed::{self, Signing},
};

/// First line of a segment; signed.
pub const SEGMENT: &str = "audit_segment";
/// Vouches for everything before it; signed.
pub const CHECKPOINT: &str = "audit_checkpoint";
/// Segments that were removed because they were old enough; signed.
pub const PRUNED: &str = "audit_pruned";
/// The end of the file was cut off by a crash, in a line that nobody had been answered for.
pub const RECOVERED: &str = "audit_recovered";
/// The file was deleted, replaced or cut under the service.
pub const LOST: &str = "audit_lost";
/// The directory does not hold what it should: a new chain begins.
pub const BROKEN: &str = "audit_broken";
/// Nothing could be written for a while.
pub const RESUMED: &str = "audit_resumed";

/// Members of every line, but for number and hash.
#[derive(Debug, Clone, Serialize)]
pub(super) struct About<'a, T> {
    pub(super) ts: DateTime<Utc>,
    pub(super) event: &'a str,
    #[serde(flatten)]
    pub(super) members: T,
}

/// [`SEGMENT`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Chain that it belongs to.
    pub chain: Uuid,
    /// Number in the chain, from 1.
    pub segment: u64,
    /// Hash of the last line of the segment before, or of the chain's [`genesis`](line::genesis).
    pub prev: String,
    /// Node that writes it.
    pub node: String,
    /// Version of the service.
    pub version: String,
    /// `full` or `control`.
    pub level: String,
    /// Public half of the key that signs, as a JWK.
    pub key: Value,
}

/// [`CHECKPOINT`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Chain.
    pub chain: Uuid,
    /// Segment.
    pub segment: u64,
    /// Hash of the line before.
    pub head: String,
    /// Epoch of the ring.
    pub epoch: u64,
    /// Nothing follows in this segment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closing: bool,
    /// Key that signs.
    pub kid: String,
}

/// [`PRUNED`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    /// Chain.
    pub chain: Uuid,
    /// Last segment that was removed.
    pub segment: u64,
    /// Its last line.
    pub last_seq: u64,
    /// The hash of that line.
    pub head: String,
    /// Key that signs.
    pub kid: String,
}

/// Segments that may be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prunable {
    /// Chain that they belong to: not the one that is written, where that one follows another.
    pub chain: Uuid,
    /// The last of them.
    pub segment: u64,
    /// Its last line.
    pub last_seq: u64,
    /// The hash of that line.
    pub head: Head,
}

/// A checkpoint that is kept elsewhere, to hold the log against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// Chain.
    pub chain: Uuid,
    /// Segment.
    pub segment: u64,
    /// Number of the line.
    pub seq: u64,
    /// Its hash.
    pub hash: Head,
    /// Key that signed it.
    pub kid: String,
    /// When.
    pub at: DateTime<Utc>,
    /// The line itself, without its newline.
    pub line: String,
}

impl Anchor {
    /// Reads a line that is a checkpoint. Its signature is not looked at: see [`Self::is_signed_by`].
    #[must_use]
    pub fn read(line: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Members {
            ts: DateTime<Utc>,
            event: String,
            #[serde(flatten)]
            checkpoint: Checkpoint,
        }
        let read = Line::read(line.as_bytes())?;
        let members: Members = serde_json::from_str(line).ok()?;
        let head = line::head(members.checkpoint.head.as_bytes())?;
        (members.event == CHECKPOINT && read.follows(&head)).then_some(())?;
        Some(Self {
            chain: members.checkpoint.chain,
            segment: members.checkpoint.segment,
            seq: read.seq,
            hash: read.hash,
            kid: members.checkpoint.kid,
            at: members.ts,
            line: line.to_owned(),
        })
    }

    /// It was signed with this key.
    #[must_use]
    pub fn is_signed_by(&self, verifier: &signed::Verifier) -> bool {
        let head = serde_json::from_str::<Checkpoint>(&self.line).ok();
        let head = head.and_then(|checkpoint| line::head(checkpoint.head.as_bytes()));
        let content = Line::read(self.line.as_bytes()).map(|line| line.content);
        head.zip(content).is_some_and(|(head, content)| verifier.vouches_for(&head, content))
    }
}

/// Appends a line of the log about itself to `into`; answers with its hash.
pub(super) fn write<T: Serialize>(
    (seq, head): (u64, &Head),
    (ts, event, members): (DateTime<Utc>, &str, T),
    signing: Option<&Signing>,
    into: &mut Vec<u8>,
) -> serde_json::Result<Head> {
    let object = serde_json::to_vec(&About { ts, event, members })?;
    let start = into.len();
    line::open(seq, bare(&object), into);
    if let Some(signing) = signing {
        signed::sign(signing, head, into, start);
    }
    Ok(line::close(head, into, start))
}

/// An object without its braces.
pub(super) fn bare(object: &[u8]) -> &[u8] {
    object.strip_prefix(b"{").and_then(|object| object.strip_suffix(b"}")).unwrap_or_default()
}
