//! Records that are written together.

/// Records as JSON objects, one after the other in one buffer.
#[derive(Debug, Default)]
pub struct Records {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Records {
    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// There is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Adds one.
    ///
    /// # Errors
    /// It has no JSON form, or is longer than `limit` bytes; then nothing is added.
    pub fn push(&mut self, record: &impl serde::Serialize, limit: usize) -> Result<(), serde_json::Error> {
        let start = self.bytes.len();
        let written = serde_json::to_writer(&mut self.bytes, record);
        let is_short = self.bytes.len() - start <= limit;
        if written.is_err() || !is_short {
            self.bytes.truncate(start);
            written?;
            return Err(serde::ser::Error::custom("the record is too long"));
        }
        self.ends.push(self.bytes.len());
        Ok(())
    }

    /// Takes those of another group too.
    pub fn append(&mut self, other: &Self) {
        let base = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        self.ends.extend(other.ends.iter().map(|end| base + end));
    }

    /// Forgets them, and keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| self.bytes.get(start..*end).unwrap_or_default())
    }
}
