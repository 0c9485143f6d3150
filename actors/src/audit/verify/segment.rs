//! One line after the other.

use super::{
    super::{
        about::Segment,
        line::{self, Line},
        scan,
    },
    chain::{Tail, Walk},
    key::Key,
    report::{Finding, Stop},
};

impl Walk<'_> {
    /// Looks at the next line of a segment of this number.
    pub(super) fn line(&mut self, bytes: &[u8], segment: u64) -> Result<(), Stop> {
        let Some(line) = Line::read(bytes) else {
            return self.bad(None, "it has not the form of a line of the log");
        };
        let seq = Some(line.seq);
        self.is_closed = false;
        match self.tail {
            Some(tail) if self.is_inside() => {
                if line.seq != tail.seq + 1 {
                    return self
                        .bad(seq, format!("its number is {}, and {} would follow", line.seq, tail.seq + 1));
                }
                if !line.follows(&tail.head) {
                    return self.bad(
                        seq,
                        "its hash does not follow from it and the line before: one of them was changed",
                    );
                }
                self.tail = Some(Tail { segment, seq: line.seq, head: line.hash });
                self.chain.unvouched += 1;
                if line.is_about_the_log() {
                    self.hear(bytes, line, tail)?;
                }
            }
            Some(_) | None => self.header(bytes, line, segment)?,
        }
        if let Some(whose) = self.held.differs(line.seq, &line.hash) {
            return self.bad(seq, format!("it is not the checkpoint of {whose} with this number"));
        }
        self.chain.first_seq.get_or_insert(line.seq);
        self.chain.last_seq = seq;
        self.chain.records += 1;
        Ok(())
    }

    /// The first line of a segment.
    fn header(&mut self, bytes: &[u8], line: Line<'_>, segment: u64) -> Result<(), Stop> {
        let seq = Some(line.seq);
        let Some(header) = scan::header(bytes) else {
            return self.bad(seq, "it does not begin as a segment does");
        };
        if (header.chain, header.segment) != (self.chain.chain, segment) {
            let what = format!(
                "it begins segment {} of chain {}, and the file is named otherwise",
                header.segment, header.chain
            );
            return self.bad(seq, what);
        }
        let Some(prev) = line::head(header.prev.as_bytes()) else {
            return self.bad(seq, "it does not say which hash it follows");
        };
        if !line.follows(&prev) {
            return self.bad(seq, "its hash does not follow from it and the hash before: it was changed");
        }
        let key = self.key_of(&header, line, &prev)?;
        self.stands(&header, line, prev)?;
        self.introduce(&key)?;
        self.tail = Some(Tail { segment, seq: line.seq, head: line.hash });
        self.enter(header, key);
        Ok(())
    }

    /// Checkpoints that closed the segment before under the key of this one.
    fn introduce(&mut self, key: &Key) -> Result<(), Stop> {
        for mut early in std::mem::take(&mut self.early) {
            if early.kid == key.kid && key.vouches_for(&early.head, &early.content) {
                continue;
            }
            if early.kid == key.kid {
                return Err(Stop::Bad(early.found));
            }
            // The key has changed again before a crash was over. This segment's signature vouches for everything before it.
            early.found.what = format!("it is signed with the key {}, which no segment names", early.kid);
            self.notes.push(early.found);
        }
        Ok(())
    }

    /// The key that a first line names, which has signed it.
    fn key_of(&self, header: &Segment, line: Line<'_>, prev: &line::Head) -> Result<Key, Stop> {
        let seq = Some(line.seq);
        let Some(key) = Key::from_jwk(&header.key) else {
            return self.bad(seq, "it names no Ed25519 key with its thumbprint as kid");
        };
        if !self.trust.allows(&key) {
            return self.bad(seq, format!("it names the key {}, which is none of those given", key.kid));
        }
        if !key.vouches_for(prev, line.content) {
            return self.bad(seq, "its signature does not hold: it, or something before it, was changed");
        }
        Ok(key)
    }

    /// The segment goes on where the one before has ended.
    fn stands(&mut self, header: &Segment, line: Line<'_>, prev: line::Head) -> Result<(), Stop> {
        let seq = Some(line.seq);
        let tail = self.tail.unwrap_or(Tail { segment: 0, seq: 0, head: line::genesis(header.chain) });
        if header.segment <= tail.segment {
            return self
                .bad(seq, format!("it begins segment {} after segment {}", header.segment, tail.segment));
        }
        if header.segment > tail.segment + 1 {
            if line.seq <= tail.seq + 1 {
                return self.bad(seq, "its number is one that a missing segment holds");
            }
            self.gap((tail.segment + 1, header.segment - 1), line.seq - 1, prev);
        } else if (prev, line.seq) != (tail.head, tail.seq + 1) {
            return self.bad(
                seq,
                format!("it does not follow line {}, with which the segment before ends", tail.seq),
            );
        }
        Ok(())
    }

    fn enter(&mut self, header: Segment, key: Key) {
        let Segment { node, level, segment, .. } = header;
        self.chain.segments += 1;
        // Its signature is as good as a checkpoint's, but it is kept nowhere else.
        self.chain.unvouched += 1;
        if !self.chain.nodes.contains(&node) {
            self.chain.nodes.push(node);
        }
        if level != "full" {
            let what = format!(
                "segment {segment} was written with audit.level {level}: uses of keys are counted, not recorded"
            );
            self.notes.push(Finding { seq: None, ..self.here(None, what) });
        }
        if !self.chain.kids.contains(&key.kid) {
            if let Some(before) = self.chain.kids.last() {
                let what = format!("the key changes from {before} to {}", key.kid);
                self.notes.push(self.here(None, what));
            }
            self.chain.kids.push(key.kid.clone());
        }
        self.key = Some(key);
    }
}
