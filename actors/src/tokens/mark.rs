//! What stands for a revoked thing in memory and in the database: a keyed hash, so that neither tells whose tokens were revoked.

use std::hash::{BuildHasherDefault, Hash, Hasher};

use claviger_crypto::digest::MacKey;
use uuid::Uuid;

/// What is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// One token, by its `jti`.
    Token,
    /// All that has come of one issue.
    Family,
    /// All tokens of a `sub`, up to a moment.
    Subject,
    /// All tokens made with a version of a key, up to a moment.
    Version,
    /// All families of a key that began up to a moment, with whatever may still come of them.
    Families,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Token, Self::Family, Self::Subject, Self::Version, Self::Families];

    /// The text form of the column.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Family => "family",
            Self::Subject => "subject",
            Self::Version => "version",
            Self::Families => "families",
        }
    }

    /// Reads the column.
    #[must_use]
    pub fn from_row(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// 128 bits of a keyed hash. Nobody without the key can choose two values of one mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark([u8; 16]);

impl Mark {
    /// From its column.
    #[must_use]
    pub fn from_row(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// For its column.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The same thing among the tokens of one key only. The bits of the hash are secret, so nobody can make two of these fall together.
    #[must_use]
    pub fn within(self, key: Uuid) -> Self {
        Self((u128::from_be_bytes(self.0) ^ key.as_u128()).to_be_bytes())
    }

    /// Half of the bits.
    fn word(self) -> u64 {
        u64::from_be_bytes(*self.0.first_chunk().unwrap_or(&[0; 8]))
    }

    /// Some bits of the other half.
    pub(super) fn part(self, of: usize) -> usize {
        let last = u64::from_be_bytes(*self.0.last_chunk().unwrap_or(&[0; 8]));
        usize::try_from(last % of.max(1) as u64).unwrap_or(0)
    }
}

impl Hash for Mark {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.word());
    }
}

/// A mark is a hash already.
#[derive(Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }
}

/// Of maps by [`Mark`].
pub(super) type ByMark = BuildHasherDefault<AsItIs>;

/// Makes marks. No `Debug`: it holds a secret.
pub struct Marker(MacKey);

impl Marker {
    /// Under a secret of the ring.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        Self(MacKey::new(secret))
    }

    /// The mark of a thing.
    #[must_use]
    pub fn mark(&self, kind: Kind, value: &str) -> Mark {
        let hash = self.0.mac(&[kind.as_str().as_bytes(), b":", value.as_bytes()]);
        Mark(*hash.first_chunk().unwrap_or(&[0; 16]))
    }

    /// The mark of all families of a key.
    #[must_use]
    pub fn families(&self, key: Uuid) -> Mark {
        self.mark(Kind::Families, "*").within(key)
    }
}
