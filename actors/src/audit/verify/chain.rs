//! Follows one chain over its segments.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::{
    super::{
        about::Pruned,
        line::{self, Head},
    },
    anchors::{Held, Standing},
    folder::Part,
    key::Key,
    lines::{Lines, Piece},
    meter::{Meter, Metered},
    report::{Chain, Finding, Stop},
    trust::Trust,
};

/// Where a chain stands after a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tail {
    pub(super) segment: u64,
    pub(super) seq: u64,
    pub(super) head: Head,
}

/// Segments that are not there; that is right if the log says that it removed them.
struct Gap {
    /// The last of them.
    through: u64,
    /// What the segment after them follows.
    last_seq: u64,
    head: Head,
    found: Finding,
}

/// A closing checkpoint under a key that the next segment names: the key changed, and a change of keys closes a segment.
pub(super) struct Early {
    pub(super) kid: String,
    pub(super) head: Head,
    pub(super) content: Vec<u8>,
    pub(super) found: Finding,
}

/// A chain as far as it has been followed.
pub(super) struct Walk<'a> {
    pub(super) chain: Chain,
    pub(super) trust: &'a Trust,
    pub(super) tail: Option<Tail>,
    /// Key of the segment.
    pub(super) key: Option<Key>,
    pub(super) early: Vec<Early>,
    /// The last line was a checkpoint that closes its segment.
    pub(super) is_closed: bool,
    pub(super) held: Held<'a>,
    pub(super) pruned: Vec<(Pruned, Finding)>,
    pub(super) notes: Vec<Finding>,
    /// What the log says of a loss.
    pub(super) said: Vec<Finding>,
    pub(super) bad: Option<Finding>,
    /// Where the line is that is looked at.
    file: PathBuf,
    number: u64,
    gaps: Vec<Gap>,
    /// Last number and hash of each segment.
    ends: BTreeMap<u64, (u64, Head)>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(chain: Uuid, trust: &'a Trust, held: Held<'a>) -> Self {
        Self {
            chain: Chain { chain, ..Chain::default() },
            trust,
            tail: None,
            key: None,
            early: Vec::new(),
            is_closed: false,
            held,
            pruned: Vec::new(),
            notes: Vec::new(),
            said: Vec::new(),
            bad: None,
            file: PathBuf::new(),
            number: 0,
            gaps: Vec::new(),
            ends: BTreeMap::new(),
        }
    }

    /// The line that is looked at is not the first of its segment.
    pub(super) const fn is_inside(&self) -> bool {
        self.number > 1
    }

    /// Something about the line that is looked at.
    pub(super) fn here(&self, seq: Option<u64>, what: impl Into<String>) -> Finding {
        Finding { line: Some(self.number.max(1)), seq, ..Finding::about(&self.file, what) }
    }

    /// The line that is looked at is not what it should be.
    pub(super) fn bad<T>(&self, seq: Option<u64>, what: impl Into<String>) -> Result<T, Stop> {
        Err(Stop::Bad(self.here(seq, what)))
    }

    /// Follows a segment.
    pub(super) fn part(&mut self, part: &Part, meter: &Meter<'_>) -> Result<(), Stop> {
        self.file.clone_from(&part.path);
        (self.number, self.is_closed) = (0, false);
        let mut lines = Lines::new(source(part, meter)?);
        loop {
            let piece = match lines.next() {
                Err(error) if !is_packed(&part.path) || meter.has_failed() => return Err(error.into()),
                Err(_) => {
                    self.number += 1;
                    return self.bad(None, "it can't be unpacked from here on");
                }
                Ok(piece) => piece,
            };
            let Some(piece) = piece else { break };
            self.number += 1;
            match piece {
                Piece::Line(line) => self.line(line, part.segment)?,
                Piece::TooLong => return self.bad(None, "it is longer than a line of the log may be"),
                Piece::Torn(length) if part.open.is_some() && self.number > 1 => {
                    let what = format!(
                        "the last {length} bytes are no whole line: it is being written, or a crash cut it off"
                    );
                    self.notes.push(self.here(None, what));
                }
                Piece::Torn(_) => return self.bad(None, "it is no whole line"),
            }
        }
        if part.open.is_none() && !self.is_closed {
            return self.bad(
                self.tail.map(|tail| tail.seq),
                "the segment ends here, without the checkpoint that closes it",
            );
        }
        if let Some(Tail { segment, seq, head }) = self.tail {
            self.ends.insert(segment, (seq, head));
        }
        part.twin.as_deref().map_or(Ok(()), |twin| self.compare(&part.path, twin))
    }

    /// Segments before this one are missing.
    pub(super) fn gap(&mut self, (from, through): (u64, u64), last_seq: u64, head: Head) {
        let which = if from == through {
            format!("segment {from} is")
        } else {
            format!("segments {from} to {through} are")
        };
        let what = format!(
            "{which} missing before this one, and the log does not say that it removed what is missing"
        );
        self.gaps.push(Gap { through, last_seq, head, found: self.here(Some(last_seq + 1), what) });
    }

    /// The packed copy of a segment holds the same bytes.
    fn compare(&mut self, plain: &Path, twin: &Path) -> Result<(), Stop> {
        let mut packed = Lines::new(zstd::Decoder::new(File::open(twin)?)?);
        let mut lines = Lines::new(File::open(plain)?);
        self.file = twin.to_owned();
        self.number = 0;
        loop {
            self.number += 1;
            let Ok(copy) = packed.next() else {
                return self.bad(None, "it can't be unpacked from here on");
            };
            let line = lines.next()?;
            if copy != line {
                return self.bad(None, format!("it is not the same as in {}", plain.display()));
            }
            if line.is_none() {
                self.notes.push(Finding::about(twin, "the same segment is there unpacked"));
                return Ok(());
            }
        }
    }

    /// Judges what only the whole chain shows. `all` is what any chain says was removed.
    pub(super) fn finish(&mut self, all: &[(Pruned, Finding)]) -> Result<(), Stop> {
        if let Some((seq, whose)) = self.held.beyond() {
            // Before all else: what is missing at the end would say which segments were removed at the beginning.
            let tail = self.tail.map(|tail| tail.seq);
            let what = format!("the checkpoint with seq {seq} of {whose} is not in the log, which ends here");
            return self.bad(tail, what);
        }
        self.judge_gaps(all)?;
        self.introduce_early()?;
        let pruned = all.iter().filter(|(pruned, _)| pruned.chain == self.chain.chain);
        let through = pruned.map(|(pruned, _)| pruned.last_seq).max().unwrap_or(0);
        if let Some((seq, whose)) = self.held.missing(through) {
            return self.bad(
                None,
                format!("the checkpoint with seq {seq} of {whose} is in a segment that is missing"),
            );
        }
        if self.chain.unvouched > 0 {
            let what = format!(
                "{} records after the last checkpoint: chained, but not signed yet",
                self.chain.unvouched
            );
            self.notes.push(Finding { line: None, seq: None, ..self.here(None, what) });
        }
        Ok(())
    }

    fn judge_gaps(&self, all: &[(Pruned, Finding)]) -> Result<(), Stop> {
        let mine = || all.iter().filter(|(pruned, _)| pruned.chain == self.chain.chain);
        for (pruned, found) in mine() {
            let end = self.ends.get(&pruned.segment);
            if end
                .is_some_and(|(seq, head)| (*seq, line::text(head)) != (pruned.last_seq, pruned.head.clone()))
            {
                return Err(Stop::Bad(found.clone()));
            }
        }
        for gap in &self.gaps {
            let is_said = |pruned: &Pruned| {
                let fits = (pruned.last_seq, &pruned.head) == (gap.last_seq, &line::text(&gap.head));
                // One that was to be removed with the missing ones, and is still there.
                pruned.segment > gap.through || pruned.segment == gap.through && fits
            };
            if !mine().any(|(pruned, _)| is_said(pruned)) {
                return Err(Stop::Bad(gap.found.clone()));
            }
        }
        Ok(())
    }

    /// Keys that were to be named by a segment that is not there: a crash may have come before it.
    fn introduce_early(&mut self) -> Result<(), Stop> {
        for Early { kid, head, content, mut found } in std::mem::take(&mut self.early) {
            match self.trust.key(&kid) {
                Some(key) if key.vouches_for(&head, &content) => {}
                Some(_) => return Err(Stop::Bad(found)),
                None if self.trust.is_pinned() => {
                    found.what = "it is signed with a key that is none of those given".to_owned();
                    return Err(Stop::Bad(found));
                }
                None => {
                    found.what = format!("it is signed with the key {kid}, which no segment names yet");
                    self.notes.push(found);
                }
            }
        }
        Ok(())
    }

    /// Takes note of why it was not followed any further, if so.
    pub(super) fn stop(&mut self, followed: Result<(), Stop>) -> io::Result<()> {
        self.chain.from_start = self.chain.first_seq == Some(1);
        match followed {
            Ok(()) => Ok(()),
            Err(Stop::Io(error)) => Err(error),
            Err(Stop::Bad(finding)) => {
                self.bad = Some(finding);
                Ok(())
            }
        }
    }

    pub(super) const fn standing(&self) -> Standing {
        Standing {
            checkpoints: self.chain.checkpoints,
            from_start: self.chain.from_start,
            behind: self.held.behind,
            is_bad: self.bad.is_some(),
        }
    }
}

fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "zst")
}

/// The bytes of a segment, as they were when the folder was looked at.
fn source<'a>(part: &Part, meter: &'a Meter<'_>) -> io::Result<Box<dyn Read + 'a>> {
    let (file, left) = match &part.open {
        Some((file, length)) => (file.try_clone()?, *length),
        None => (File::open(&part.path)?, u64::MAX),
    };
    let metered = Metered { file, left, meter };
    if is_packed(&part.path) {
        return Ok(Box::new(zstd::Decoder::with_buffer(BufReader::with_capacity(256 << 10, metered))?));
    }
    Ok(Box::new(metered))
}
