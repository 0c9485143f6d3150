//! Lines in which the log speaks of itself.

use chrono::{DateTime, Utc};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    super::{
        about::{self, Checkpoint, Pruned},
        line::{self, Line},
    },
    chain::{Early, Tail, Walk},
    report::Stop,
};

#[derive(Deserialize)]
struct Spoken {
    ts: DateTime<Utc>,
    event: String,
}

impl Walk<'_> {
    /// Judges a line of the log about itself, after a line where the chain stood at `before`.
    pub(super) fn hear(&mut self, bytes: &[u8], line: Line<'_>, before: Tail) -> Result<(), Stop> {
        let seq = Some(line.seq);
        let Spoken { ts, event } = self.members(bytes, line)?;
        match event.as_str() {
            about::SEGMENT => return self.bad(seq, "a segment begins inside of another"),
            about::CHECKPOINT => self.checkpoint(self.members(bytes, line)?, ts, line, before)?,
            about::PRUNED => self.pruned(self.members(bytes, line)?, line, before)?,
            about::LOST => {
                let what = "the log says that the file of a segment was deleted, replaced or edited under the service";
                self.said.push(self.here(seq, what));
            }
            about::BROKEN => {
                let what = "the log says that the chain before this one was missing or not what it should be";
                self.said.push(self.here(seq, what));
            }
            about::RECOVERED => {
                self.notes
                    .push(self.here(seq, "a line was cut off by a crash; nobody had been answered for it"));
            }
            about::RESUMED => {
                self.notes.push(self.here(seq, "nothing could be written for a while before this line"))
            }
            _ => {}
        }
        Ok(())
    }

    fn members<T: DeserializeOwned>(&self, bytes: &[u8], line: Line<'_>) -> Result<T, Stop> {
        serde_json::from_slice(bytes)
            .or_else(|_| self.bad(Some(line.seq), "it lacks what a line of its kind says"))
    }

    fn checkpoint(
        &mut self,
        said: Checkpoint,
        at: DateTime<Utc>,
        line: Line<'_>,
        before: Tail,
    ) -> Result<(), Stop> {
        let seq = Some(line.seq);
        let stands = (said.chain, said.segment, said.head.as_str());
        if stands != (self.chain.chain, before.segment, line::text(&before.head).as_str()) {
            return self.bad(seq, "it is a checkpoint of another place");
        }
        if said.closing && self.key.as_ref().is_some_and(|key| key.kid != said.kid) {
            let found =
                self.here(seq, "its signature does not hold under the key of the segment or of the next");
            self.early.push(Early {
                kid: said.kid,
                head: before.head,
                content: line.content.to_owned(),
                found,
            });
        } else {
            self.is_signed(&said.kid, line, before)?;
        }
        self.is_closed = said.closing;
        self.held.passed(line.seq);
        self.chain.checkpoints += 1;
        (self.chain.checkpoint_seq, self.chain.checkpoint_at) = (seq, Some(at));
        self.chain.unvouched = 0;
        Ok(())
    }

    fn pruned(&mut self, said: Pruned, line: Line<'_>, before: Tail) -> Result<(), Stop> {
        let seq = Some(line.seq);
        self.is_signed(&said.kid, line, before)?;
        // A chain that follows another removes what is left of that one.
        let is_own = said.chain == self.chain.chain;
        if is_own && (said.segment >= before.segment || said.last_seq >= line.seq) {
            return self.bad(seq, "it says that something was removed which is not before it");
        }
        let found = self.here(seq, "it says that segments were removed which are not those of the log");
        self.pruned.push((said, found));
        Ok(())
    }

    /// The line is signed with the key that the segment names.
    fn is_signed(&self, kid: &str, line: Line<'_>, before: Tail) -> Result<(), Stop> {
        match &self.key {
            Some(key) if key.kid != kid => self.bad(Some(line.seq), "it names another key than its segment"),
            Some(key) if key.vouches_for(&before.head, line.content) => Ok(()),
            Some(_) | None => {
                let since = self.chain.checkpoint_seq.unwrap_or(0);
                let what =
                    format!("its signature does not hold: it was changed, or something after seq {since}");
                self.bad(Some(line.seq), what)
            }
        }
    }
}
