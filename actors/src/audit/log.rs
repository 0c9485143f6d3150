//! The log of this node: one chain over segments, on the disk of the node.
//!
//! [`Log::append`] returns once every line of a group is in the file that the folder names, and not before. After an error none of them
//! counts: the next call mends the file first. Nothing here waits, spawns or reads a clock.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::{
    about::{self, Anchor, Checkpoint, Prunable, Pruned, Segment},
    directory,
    group::emptied,
    line::{self, Head},
    signed::{Signer, Signing},
    voucher::{self, Voucher},
};

/// How the log is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder.
    pub directory: PathBuf,
    /// This node.
    pub node: String,
    /// Version of the service.
    pub version: String,
    /// `full` or `control`.
    pub level: &'static str,
    /// Bytes after which a segment is closed.
    pub segment_bytes: u64,
    /// Lines after which a checkpoint is due.
    pub checkpoint_lines: u64,
    /// Time after which one is due.
    pub checkpoint_interval: Duration,
    /// Each group is on the disk itself, not only with the operating system, before it counts.
    pub sync: bool,
}

/// The chain up to its last line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tail {
    pub(super) chain: Uuid,
    pub(super) segment: u64,
    pub(super) seq: u64,
    pub(super) head: Head,
}

impl Tail {
    pub(super) fn new(chain: Uuid) -> Self {
        Self { chain, segment: 0, seq: 0, head: line::genesis(chain) }
    }
}

/// The open segment.
pub(super) struct Current {
    pub(super) file: File,
    /// Where it should be, and what should be there.
    pub(super) path: PathBuf,
    pub(super) inode: (u64, u64),
    /// Bytes that count.
    pub(super) length: u64,
    /// The file may hold more than that.
    pub(super) torn: bool,
    /// Key that its first line names.
    pub(super) kid: String,
    /// `audit.level` that its first line names.
    pub(super) level: String,
}

/// The log, open.
pub struct Log {
    pub(super) options: Options,
    pub(super) signer: Arc<dyn Signer>,
    pub(super) tail: Tail,
    pub(super) current: Option<Current>,
    /// Lines since the last checkpoint.
    pub(super) unsigned: u64,
    pub(super) checkpoint_at: DateTime<Utc>,
    /// Something to say before anything else, once it can be said.
    pub(super) notes: Vec<Note>,
    /// Lines written since they were asked for last, where somebody asks.
    pub(super) copy: Option<Vec<u8>>,
    /// Who waits for the disk in its place.
    pub(super) voucher: Option<Voucher>,
    /// Room for the next lines.
    pub(super) room: Vec<u8>,
}

/// What the log has to say of itself.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Note {
    #[serde(skip)]
    pub(super) event: &'static str,
    #[serde(flatten)]
    pub(super) members: serde_json::Map<String, Value>,
}

/// Lines that are about to be written, and the chain after them.
struct Draft {
    bytes: Vec<u8>,
    tail: Tail,
    lines: u64,
    anchor: Option<Anchor>,
}

impl Draft {
    const fn after(tail: Tail) -> Self {
        Self { bytes: Vec::new(), tail, lines: 0, anchor: None }
    }

    fn record(&mut self, object: &[u8]) {
        let start = self.bytes.len();
        self.tail.seq += 1;
        line::open(self.tail.seq, about::bare(object), &mut self.bytes);
        self.tail.head = line::close(&self.tail.head, &mut self.bytes, start);
        self.lines += 1;
    }

    fn about<T: Serialize>(
        &mut self,
        now: DateTime<Utc>,
        event: &str,
        members: T,
        signing: Option<&Signing>,
    ) -> io::Result<()> {
        self.tail.seq += 1;
        self.tail.head =
            about::write((self.tail.seq, &self.tail.head), (now, event, members), signing, &mut self.bytes)?;
        self.lines += 1;
        Ok(())
    }

    fn checkpoint(&mut self, now: DateTime<Utc>, closing: bool, signing: &Signing) -> io::Result<()> {
        let start = self.bytes.len();
        let members = Checkpoint {
            chain: self.tail.chain,
            segment: self.tail.segment,
            head: line::text(&self.tail.head),
            epoch: signing.epoch,
            closing,
            kid: signing.kid.to_string(),
        };
        self.about(now, about::CHECKPOINT, members, Some(signing))?;
        let line = self.bytes.get(start..).and_then(|line| line.strip_suffix(b"\n")).unwrap_or_default();
        self.anchor = Anchor::read(&String::from_utf8_lossy(line));
        Ok(())
    }
}

impl Log {
    /// Appends records; answers with the checkpoint if one was due. Whoever finds the file gone or edited gets an error, and the chain goes
    /// on in another one with the next call.
    ///
    /// # Errors
    /// None of the records counts.
    pub fn append<'a>(
        &mut self,
        records: impl Iterator<Item = &'a [u8]>,
        now: DateTime<Utc>,
    ) -> io::Result<Option<Anchor>> {
        let signing = self.stand(now)?;
        let mut draft = Draft { bytes: std::mem::take(&mut self.room), ..Draft::after(self.tail) };
        for object in records {
            draft.record(object);
        }
        let due = self.unsigned + draft.lines >= self.options.checkpoint_lines || self.is_time(now);
        if due && self.unsigned + draft.lines > 0 {
            draft.checkpoint(now, false, &signing)?;
        }
        self.commit(draft, now)
    }

    fn is_time(&self, now: DateTime<Utc>) -> bool {
        let since = (now - self.checkpoint_at).to_std();
        // A clock that was set back makes one too many.
        since.map_or(true, |since| since >= self.options.checkpoint_interval)
    }

    /// As [`Self::checkpoint`], once it is time; looks after the file in any case.
    ///
    /// # Errors
    /// It can't be written.
    pub fn tick(&mut self, now: DateTime<Utc>) -> io::Result<Option<Anchor>> {
        if let Some(current) = self.current.as_ref().filter(|current| !current.torn)
            && !current.is_whole(current.length)
        {
            self.lose();
            return Err(gone());
        }
        if self.is_time(now) { self.checkpoint(now) } else { Ok(None) }
    }

    /// Signs what has been written since the last checkpoint, if anything.
    ///
    /// # Errors
    /// It can't be written.
    pub fn checkpoint(&mut self, now: DateTime<Utc>) -> io::Result<Option<Anchor>> {
        if self.unsigned == 0 && self.notes.is_empty() && self.current.is_some() {
            return Ok(None);
        }
        let signing = self.stand(now)?;
        let mut draft = Draft::after(self.tail);
        draft.checkpoint(now, false, &signing)?;
        self.commit(draft, now)
    }

    /// Writes that segments are about to be removed.
    ///
    /// # Errors
    /// It can't be written; then nothing may be removed.
    pub fn prune(&mut self, prunable: &Prunable, now: DateTime<Utc>) -> io::Result<Option<Anchor>> {
        let signing = self.stand(now)?;
        let mut draft = Draft::after(self.tail);
        let members = Pruned {
            chain: prunable.chain,
            segment: prunable.segment,
            last_seq: prunable.last_seq,
            head: line::text(&prunable.head),
            kid: signing.kid.to_string(),
        };
        draft.about(now, about::PRUNED, members, Some(&signing))?;
        draft.checkpoint(now, false, &signing)?;
        self.commit(draft, now)
    }

    /// The chain that is written.
    #[must_use]
    pub const fn chain(&self) -> Uuid {
        self.tail.chain
    }

    /// The segment that is written.
    #[must_use]
    pub const fn segment(&self) -> u64 {
        self.tail.segment
    }

    /// Says something of the log itself with the next lines.
    pub fn note(&mut self, event: &'static str, members: serde_json::Map<String, Value>) {
        self.notes.push(Note { event, members });
    }

    /// As [`Self::note`], in place of what was to be said of the same event.
    pub(super) fn note_instead(&mut self, event: &'static str, members: serde_json::Map<String, Value>) {
        self.notes.retain(|note| note.event != event);
        self.note(event, members);
    }

    /// From now on, somebody else waits until checkpoints are on the disk, and tells of them.
    #[must_use]
    pub(super) fn vouched_for_by(self, voucher: Voucher) -> Self {
        Self { voucher: Some(voucher), ..self }
    }

    /// Makes sure that there is a file that ends where the chain does, under the present key.
    fn stand(&mut self, now: DateTime<Utc>) -> io::Result<Signing> {
        if let Some(voucher) = &self.voucher {
            voucher.judge()?;
        }
        let signing = self.signer.signing().ok_or_else(|| io::Error::other("the audit key is missing"))?;
        if let Some(current) = &mut self.current {
            if current.torn {
                current.file.set_len(current.length)?;
                current.torn = false;
            }
            let is_over = current.length >= self.options.segment_bytes
                || *current.kid != *signing.kid
                || current.level != self.options.level;
            if is_over {
                self.close(now, &signing)?;
            }
        }
        if self.current.is_none() {
            self.begin(now, &signing)?;
        }
        self.say_notes(now)?;
        Ok(signing)
    }

    fn say_notes(&mut self, now: DateTime<Utc>) -> io::Result<()> {
        if self.notes.is_empty() {
            return Ok(());
        }
        let mut draft = Draft::after(self.tail);
        for note in &self.notes {
            draft.about(now, note.event, note, None)?;
        }
        self.commit(draft, now)?;
        self.notes.clear();
        Ok(())
    }

    /// Begins the next segment.
    fn begin(&mut self, now: DateTime<Utc>, signing: &Signing) -> io::Result<()> {
        let Options { directory, node, version, level, .. } = &self.options;
        directory::make(directory)?;
        let path = directory.join(directory::CURRENT);
        if fs::symlink_metadata(&path).is_ok() {
            // Whoever put it there may want it back; it is not ours.
            fs::rename(&path, directory::foreign(directory, now.timestamp_millis()))?;
        }
        let mut draft = Draft::after(Tail { segment: self.tail.segment + 1, ..self.tail });
        let members = Segment {
            chain: draft.tail.chain,
            segment: draft.tail.segment,
            prev: line::text(&draft.tail.head),
            node: node.clone(),
            version: version.clone(),
            level: (*level).to_owned(),
            key: Value::clone(&signing.jwk),
        };
        draft.about(now, about::SEGMENT, members, Some(signing))?;
        let file = directory::create(directory)?;
        let written = (&file).write_all(&draft.bytes).and_then(|()| File::open(directory)?.sync_all());
        if let Err(error) = written {
            // Nothing in it counts, and the next attempt makes it anew.
            fs::remove_file(&path)?;
            return Err(error);
        }
        let (length, inode) = (draft.bytes.len() as u64, inode(&file)?);
        self.current = Some(Current {
            file,
            path,
            inode,
            length,
            torn: false,
            kid: signing.kid.to_string(),
            level: (*level).to_owned(),
        });
        self.unsigned += draft.lines;
        self.tail = draft.tail;
        self.keep_copy(&draft.bytes);
        Ok(())
    }

    fn keep_copy(&mut self, bytes: &[u8]) {
        if let Some(copy) = &mut self.copy {
            copy.extend_from_slice(bytes);
        }
    }

    /// From now on, lines are kept until they are taken.
    pub(super) fn copy_lines(&mut self) {
        self.copy.get_or_insert_default();
    }

    /// Lines that have been written since the last time.
    pub(super) fn take_copy(&mut self) -> Vec<u8> {
        self.copy.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Ends the segment with a checkpoint and puts it aside.
    fn close(&mut self, now: DateTime<Utc>, signing: &Signing) -> io::Result<()> {
        let mut draft = Draft::after(self.tail);
        draft.checkpoint(now, true, signing)?;
        self.commit(draft, now)?;
        if let Some(current) = &self.current {
            current.file.sync_all()?;
        }
        let Tail { chain, segment, .. } = self.tail;
        let directory = &self.options.directory;
        fs::rename(directory.join(directory::CURRENT), directory::closed(directory, chain, segment))?;
        self.current = None;
        Ok(())
    }

    /// Writes a draft. Only once it is where it belongs does it count.
    fn commit(&mut self, draft: Draft, now: DateTime<Utc>) -> io::Result<Option<Anchor>> {
        let Some(current) = &mut self.current else { return Err(gone()) };
        current.torn = true;
        // What is vouched for elsewhere must be here after a loss of power.
        let is_synced = self.options.sync || draft.anchor.is_some() && self.voucher.is_none();
        let written = current.file.write_all(&draft.bytes);
        let written = written.and_then(|()| if is_synced { current.file.sync_data() } else { Ok(()) });
        if let Err(error) = written {
            // Half of it may be there. If even that can't be mended now, it is before the next line.
            current.torn = current.file.set_len(current.length).is_err();
            return Err(error);
        }
        let length = current.length + draft.bytes.len() as u64;
        if !current.is_whole(length) {
            self.lose();
            return Err(gone());
        }
        (current.length, current.torn) = (length, false);
        self.tail = draft.tail;
        self.keep_copy(&draft.bytes);
        self.unsigned += draft.lines;
        self.room = emptied(draft.bytes);
        let Some(anchor) = draft.anchor else { return Ok(None) };
        self.unsigned = 0;
        self.checkpoint_at = now;
        let (Some(voucher), Some(current)) = (&self.voucher, &self.current) else {
            voucher::tell(&self.options.directory, &anchor);
            return Ok(Some(anchor));
        };
        if let Err(error) = current.file.try_clone().and_then(|file| voucher.vouch(file, anchor)) {
            tracing::warn!(%error, "nobody vouches for a checkpoint of the audit log; the next one stands for it");
        }
        Ok(None)
    }

    /// The file was deleted, replaced or edited under us. What it held is lost, and the chain goes on in the next one, so that it shows.
    fn lose(&mut self) {
        let Tail { segment, seq, .. } = self.tail;
        tracing::error!(
            segment,
            last_seq = seq,
            "the audit log was deleted, replaced or edited while it was written"
        );
        self.current = None;
        let members = [("segment", segment), ("last_seq", seq)];
        let members = members.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        self.note(about::LOST, members);
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the file was deleted, replaced or edited")
}

/// What a file is, whatever it is called.
pub(super) fn inode(file: &File) -> io::Result<(u64, u64)> {
    file.metadata().map(|file| (file.dev(), file.ino()))
}

impl Current {
    /// The folder still names this file, and it is as long as it should be.
    fn is_whole(&self, length: u64) -> bool {
        let named = fs::metadata(&self.path);
        named.is_ok_and(|named| (named.dev(), named.ino()) == self.inode && named.len() == length)
    }
}
