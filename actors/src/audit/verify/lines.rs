//! Lines out of big blocks: a copy of each would cost more than its hash.

use std::io::{self, Read};

use super::super::line::LINE_MAX;

const BLOCK: usize = 1 << 20;

/// What comes next in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A line, without its newline.
    Line(&'a [u8]),
    /// What the file ends in: a line without a newline, of so many bytes.
    Torn(usize),
    /// A line that is longer than any may be.
    TooLong,
}

pub(super) struct Lines<R> {
    source: R,
    block: Vec<u8>,
    /// What of the block has not been handed out.
    start: usize,
    end: usize,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, block: vec![0; BLOCK], start: 0, end: 0 }
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// The source can't be read.
    pub(super) fn next(&mut self) -> io::Result<Option<Piece<'_>>> {
        let mut searched = 0;
        loop {
            let rest = self.block.get(self.start + searched..self.end).unwrap_or_default();
            if let Some(at) = memchr::memchr(b'\n', rest) {
                let (from, length) = (self.start, searched + at);
                self.start += length + 1;
                if length > LINE_MAX {
                    return Ok(Some(Piece::TooLong));
                }
                return Ok(self.block.get(from..from + length).map(Piece::Line));
            }
            searched = self.end - self.start;
            if searched > LINE_MAX {
                return Ok(Some(Piece::TooLong));
            }
            if self.fill()? == 0 {
                self.start = self.end;
                return Ok((searched > 0).then_some(Piece::Torn(searched)));
            }
        }
    }

    /// Moves the rest to the front and reads after it.
    fn fill(&mut self) -> io::Result<usize> {
        self.block.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        loop {
            match self.source.read(self.block.get_mut(self.end..).unwrap_or_default()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => {
                    let read = read?;
                    self.end += read;
                    return Ok(read);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Hands out a few bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(into.len());
            (&mut self.0).take(length as u64).read(into)
        }
    }

    proptest! {
        #[test]
        fn lines_come_whole_whatever_is_read_at_once(text in "[a\n]{0,80}", step in 1_usize..9) {
            let mut lines = Lines::new(Slow(text.as_bytes(), step));
            let (mut read, mut torn) = (Vec::new(), None);
            while let Some(piece) = lines.next().unwrap() {
                match piece {
                    Piece::Line(line) => read.push(String::from_utf8(line.to_vec()).unwrap()),
                    Piece::Torn(length) => torn = Some(length),
                    Piece::TooLong => panic!("too long"),
                }
            }
            let mut wanted: Vec<_> = text.split('\n').map(str::to_owned).collect();
            let rest = wanted.pop().unwrap().len();
            prop_assert_eq!((read, torn), (wanted, (rest > 0).then_some(rest)));
        }
    }

    #[test]
    fn the_longest_line_is_taken_and_a_longer_one_is_not() {
        for (length, end, fits) in [(LINE_MAX, "\n", true), (LINE_MAX + 1, "\n", false), (2 << 20, "", false)]
        {
            let text = "a".repeat(length) + end;
            let mut lines = Lines::new(text.as_bytes());
            let is_line = matches!(lines.next().unwrap(), Some(Piece::Line(line)) if line.len() == length);
            assert_eq!(is_line, fits, "{length}");
        }
    }
}
