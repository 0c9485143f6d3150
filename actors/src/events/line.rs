//! A line of the change log, its place in it, and the mark by which a reader goes on from there.

use std::fmt;

use crate::keyring::{Epoch, Position};

/// What tells one history from another: the beginning of the hash over all changes up to one. Two that have parted have other hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag(u32);

impl Tag {
    /// Of such a hash.
    #[must_use]
    pub fn of(head: &[u8]) -> Option<Self> {
        head.first_chunk().map(|beginning| Self(u32::from_be_bytes(*beginning)))
    }
}

/// A change up to which somebody has got everything, and the history that it is of, where they can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark {
    /// The change.
    pub epoch: Epoch,
    /// Its history; without one, that of the database is taken for the same.
    pub tag: Option<Tag>,
}

impl Mark {
    /// Reads the text form: the epoch, or the epoch, a dot and eight hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, tag) = match text.split_once('.') {
            None => (text, None),
            Some((epoch, tag)) => {
                let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
                if tag.len() != 8 || !tag.bytes().all(is_digit) {
                    return None;
                }
                (epoch, Some(Tag(u32::from_str_radix(tag, 16).ok()?)))
            }
        };
        Some(Self { epoch: Epoch(epoch.parse().ok()?), tag })
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.epoch.0)?;
        self.tag.map_or(Ok(()), |Tag(tag)| write!(formatter, ".{tag:08x}"))
    }
}

impl From<Epoch> for Mark {
    fn from(epoch: Epoch) -> Self {
        Self { epoch, tag: None }
    }
}

impl From<Position> for Mark {
    fn from(position: Position) -> Self {
        Self { epoch: position.epoch, tag: Tag::of(&position.head) }
    }
}

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
    /// The history up to its change.
    pub tag: Option<Tag>,
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
