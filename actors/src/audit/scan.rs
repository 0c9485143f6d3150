//! Reads a segment from its first line to its last and follows the chain.

use std::{
    io::{self, BufRead},
    path::Path,
};

use serde::Deserialize;

use super::{
    about::{self, Anchor, Segment},
    directory,
    line::{self, Head, LINE_MAX, Line},
};

/// What a segment holds, as far as its chain goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scan {
    pub(super) header: Segment,
    pub(super) last_seq: u64,
    pub(super) head: Head,
    /// Bytes of whole lines.
    pub(super) length: u64,
    /// Bytes after them: a line that was cut off.
    pub(super) torn: u64,
    /// The chain ends before the file does.
    pub(super) broken: bool,
    /// The line that the anchor names is another one, or missing.
    pub(super) anchor_differs: bool,
}

/// Reads one line into `buffer`, without its newline. `None` at the end; `Some(false)` when it is not whole.
pub(super) fn next_line(lines: &mut dyn BufRead, buffer: &mut Vec<u8>) -> io::Result<Option<bool>> {
    buffer.clear();
    let limit = LINE_MAX as u64 + 1;
    let mut limited = io::Read::take(lines, limit);
    if limited.read_until(b'\n', buffer)? == 0 {
        return Ok(None);
    }
    Ok(Some(buffer.pop_if(|byte| *byte == b'\n').is_some()))
}

/// The first line of a segment.
pub(super) fn header(line: &[u8]) -> Option<Segment> {
    #[derive(Deserialize)]
    struct Members {
        event: String,
        #[serde(flatten)]
        segment: Segment,
    }
    let members: Members = serde_json::from_slice(line).ok()?;
    (members.event == about::SEGMENT).then_some(members.segment)
}

/// Follows a segment; `None` when it does not begin like one.
pub(super) fn scan(path: &Path, anchors: &[Anchor]) -> io::Result<Option<Scan>> {
    let mut lines = directory::read(path)?;
    let mut buffer = Vec::new();
    let Some(true) = next_line(&mut *lines, &mut buffer)? else { return Ok(None) };
    let Some(header) = header(&buffer) else { return Ok(None) };
    let Some(before) = line::head(header.prev.as_bytes()) else { return Ok(None) };
    let Some(first) = Line::read(&buffer).filter(|line| line.follows(&before)) else { return Ok(None) };
    let anchors: Vec<&Anchor> =
        anchors.iter().filter(|anchor| anchor.chain == header.chain && anchor.seq >= first.seq).collect();
    let mut scan = Scan {
        header,
        last_seq: first.seq,
        head: first.hash,
        length: buffer.len() as u64 + 1,
        torn: 0,
        broken: false,
        anchor_differs: false,
    };
    while let Some(is_whole) = next_line(&mut *lines, &mut buffer)? {
        let length = buffer.len() as u64 + u64::from(is_whole);
        let line = Line::read(&buffer);
        let Some(line) =
            line.filter(|line| is_whole && line.seq == scan.last_seq + 1 && line.follows(&scan.head))
        else {
            // Only the last line can have been cut off.
            let is_last = lines.fill_buf()?.is_empty();
            scan.torn = length;
            scan.broken = is_whole || !is_last;
            break;
        };
        (scan.last_seq, scan.head) = (line.seq, line.hash);
        scan.length += length;
        scan.anchor_differs |=
            anchors.iter().any(|anchor| anchor.seq == line.seq && anchor.hash != line.hash);
    }
    scan.anchor_differs |= anchors.iter().any(|anchor| anchor.seq > scan.last_seq);
    Ok(Some(scan))
}
