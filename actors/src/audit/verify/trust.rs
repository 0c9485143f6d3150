//! What a log is held against: keys and checkpoints that were not kept with it.

use super::{
    super::about::Anchor,
    key::{Key, NotAKey},
};

/// A line, by its number from 1, that is no checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {0} is no checkpoint of an audit log")]
pub struct NotACheckpoint(pub usize);

/// What a log is held against. By default nothing: then keys are taken from the log itself, and whoever can replace all of it, keys
/// included, is not found.
#[derive(Default)]
pub struct Trust {
    keys: Vec<Key>,
    anchors: Vec<Anchor>,
    require_all: bool,
}

impl Trust {
    /// Adds the keys of a text: a JWK, a JWKS, or an Ed25519 public key in base64url. Once there is one, the log may name no others.
    ///
    /// # Errors
    /// It is none of these.
    pub fn pin(&mut self, text: &str) -> Result<(), NotAKey> {
        self.keys.extend(Key::all_in(text)?);
        Ok(())
    }

    /// Adds a checkpoint that is kept elsewhere.
    pub fn anchor(&mut self, anchor: Anchor) {
        self.anchors.push(anchor);
    }

    /// Adds checkpoints from a text, one a line.
    ///
    /// # Errors
    /// The first line that is none.
    pub fn anchors_in(&mut self, text: &str) -> Result<(), NotACheckpoint> {
        for (index, line) in text.lines().enumerate() {
            if !line.is_empty() {
                self.anchors.push(Anchor::read(line).ok_or(NotACheckpoint(index + 1))?);
            }
        }
        Ok(())
    }

    /// Every chain that a checkpoint names must be in the folder. Each node has a folder of its own, so this is for one node's checkpoints.
    pub const fn require_all(&mut self) {
        self.require_all = true;
    }

    pub(super) const fn is_pinned(&self) -> bool {
        !self.keys.is_empty()
    }

    pub(super) fn allows(&self, key: &Key) -> bool {
        self.keys.is_empty() || self.keys.iter().any(|pinned| pinned.is(key))
    }

    pub(super) fn key(&self, kid: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.kid == kid)
    }

    pub(super) fn anchors(&self) -> &[Anchor] {
        &self.anchors
    }

    pub(super) const fn requires_all(&self) -> bool {
        self.require_all
    }
}
