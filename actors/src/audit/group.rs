//! Records that are written together.

use tokio::sync::oneshot;

/// What one thread hands over at once: everything that came up in one turn of its loop.
pub(super) struct Group {
    pub(super) records: Records,
    /// Those of them that people should see: changes and refusals.
    pub(super) notable: Records,
    pub(super) written: oneshot::Sender<bool>,
}

/// Records as JSON objects, one after the other in one buffer.
#[derive(Debug, Default)]
pub(super) struct Records {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Records {
    /// With room for as many as mostly come together.
    pub(super) fn with_room() -> Self {
        Self { bytes: Vec::with_capacity(4_096), ends: Vec::with_capacity(8) }
    }

    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Adds one.
    ///
    /// # Errors
    /// It has no JSON form, or is longer than `limit` bytes; then nothing is added.
    pub(super) fn push(
        &mut self,
        record: &impl serde::Serialize,
        limit: usize,
    ) -> Result<(), serde_json::Error> {
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

    /// Each of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> + Clone {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| self.bytes.get(start..*end).unwrap_or_default())
    }
}
