//! Records that are written together.

use tokio::sync::oneshot;

/// Room that is kept, in bytes.
const ROOM_MAX: usize = 64 << 10;

/// What one thread hands over at once: everything that came up in one turn of its loop.
pub(super) struct Group {
    pub(super) records: Records,
    /// Those of them that people should see: changes and refusals.
    pub(super) notable: Records,
    pub(super) written: oneshot::Sender<Returned>,
}

/// What became of a group.
pub(super) struct Returned {
    /// Its records are in the log.
    pub(super) is_written: bool,
    /// Room for others: whoever gave it away wants it back, rather than have another thread return it to the allocator.
    pub(super) room: Records,
}

/// Records as JSON objects, one after the other in one buffer.
#[derive(Debug, Default)]
pub(super) struct Records {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// The room of bytes that are not needed any more, unless it is unusually large.
pub(super) fn emptied(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.clear();
    bytes.shrink_to(ROOM_MAX);
    bytes
}

impl Records {
    /// Without any, and without room.
    pub(super) const fn none() -> Self {
        Self { bytes: Vec::new(), ends: Vec::new() }
    }

    /// With room for as many as mostly come together.
    pub(super) fn with_room(mut self) -> Self {
        self.bytes.reserve(4_096);
        self.ends.reserve(8);
        self
    }

    /// Forgets them, and keeps their room unless it is unusually large.
    pub(super) fn emptied(mut self) -> Self {
        self.bytes = emptied(self.bytes);
        self.ends.clear();
        self
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
