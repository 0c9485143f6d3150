//! How many fields a block of header fields (HPACK, RFC 7541) unfolds to, counted from its bytes as they pass. No I/O.
//!
//! A byte may stand for a field that was sent before, so the length of a block says little of what it costs. To count, neither the table
//! nor Huffman's code is needed: only where one representation ends and the next begins.

use super::core::Excess;

/// Most fields in a block. Clients send some ten, and proxies add as many.
pub(super) const FIELDS_MAX: usize = 256;
/// Longest number: as many bytes after its prefix (§5.1). The framework takes fewer.
const NUMBER_MAX: u32 = 5;

const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// What stands before the fields where there is a priority (RFC 9113 §6.2).
const PRIORITY_LENGTH: usize = 5;

/// What the next byte is.
#[derive(Debug, Clone, Copy)]
enum Next {
    /// The first of a representation.
    Representation,
    /// One more of the number of an entry, of which there were so many; then come so many strings.
    Index { bytes: u32, strings: u8 },
    /// The first of a string's length; then come so many other strings.
    Length { others: u8 },
    /// One more of a string's length.
    LengthMore { bytes: u32, length: u64, others: u8 },
    /// One of so many of a string.
    Text { left: u64, others: u8 },
}

impl Next {
    const fn of_strings(strings: u8) -> Self {
        match strings.checked_sub(1) {
            Some(others) => Self::Length { others },
            None => Self::Representation,
        }
    }

    const fn of_text(left: u64, others: u8) -> Self {
        if left == 0 { Self::of_strings(others) } else { Self::Text { left, others } }
    }
}

/// Counts the fields of one block after the other.
#[derive(Debug)]
pub(super) struct Fields {
    next: Next,
    count: usize,
    /// A byte says how long the padding is.
    is_padded: bool,
    /// What stands before the fields of this frame.
    skip: usize,
    /// Bytes of fields that are left in this frame.
    left: usize,
}

impl Fields {
    pub(super) const fn new() -> Self {
        Self { next: Next::Representation, count: 0, is_padded: false, skip: 0, left: 0 }
    }

    /// A frame of so many bytes begins a block.
    pub(super) const fn begin(&mut self, flags: u8, length: usize) {
        let skip = if flags & PRIORITY == 0 { 0 } else { PRIORITY_LENGTH };
        *self = Self { is_padded: flags & PADDED != 0, skip, left: length, ..Self::new() };
    }

    /// A frame of so many bytes goes on with it.
    pub(super) const fn go_on(&mut self, length: usize) {
        (self.is_padded, self.skip, self.left) = (false, 0, length);
    }

    /// The next bytes of the frame.
    ///
    /// # Errors
    /// [`Excess::Fields`], [`Excess::Senseless`].
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> Result<(), Excess> {
        if self.is_padded {
            let Some((padding, rest)) = bytes.split_first() else { return Ok(()) };
            self.is_padded = false;
            self.left = self.left.saturating_sub(1 + usize::from(*padding));
            bytes = rest;
        }
        // What is longer than its frame is refused by the framework.
        self.skip = self.skip.min(self.left);
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        self.left -= skipped;
        let fields = bytes.get(skipped..).unwrap_or_default();
        let fields = fields.get(..self.left).unwrap_or(fields);
        self.left -= fields.len();
        self.count(fields)
    }

    fn count(&mut self, mut bytes: &[u8]) -> Result<(), Excess> {
        while let Some((byte, rest)) = bytes.split_first() {
            bytes = rest;
            let is_last = byte & 0x80 == 0;
            self.next = match self.next {
                Next::Representation => {
                    self.count += 1;
                    if self.count > FIELDS_MAX {
                        return Err(Excess::Fields);
                    }
                    begin(*byte)
                }
                Next::Index { bytes, .. } | Next::LengthMore { bytes, .. } if bytes == NUMBER_MAX => {
                    return Err(Excess::Senseless);
                }
                Next::Index { strings, .. } if is_last => Next::of_strings(strings),
                Next::Index { bytes, strings } => Next::Index { bytes: bytes + 1, strings },
                Next::Length { others } => match u64::from(byte & 0x7f) {
                    length @ 0x7f => Next::LengthMore { bytes: 0, length, others },
                    length => Next::of_text(length, others),
                },
                Next::LengthMore { bytes, length, others } => {
                    let length = length + (u64::from(byte & 0x7f) << (7 * bytes));
                    if is_last {
                        Next::of_text(length, others)
                    } else {
                        Next::LengthMore { bytes: bytes + 1, length, others }
                    }
                }
                Next::Text { left, others } => {
                    let more = usize::try_from(left - 1).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = bytes.get(more..).unwrap_or_default();
                    Next::of_text(left - 1 - more as u64, others)
                }
            };
        }
        Ok(())
    }
}

/// What follows on the first byte of a representation (§6).
fn begin(byte: u8) -> Next {
    let (prefix, is_literal) = match byte {
        0x80.. => (0x7f, false),
        0x40.. => (0x3f, true),
        // The size of the table, which costs as much time as a field.
        0x20.. => (0x1f, false),
        _ => (0x0f, true),
    };
    let index = byte & prefix;
    // A name that is no entry's stands before the value.
    let strings = if is_literal { 1 + u8::from(index == 0) } else { 0 };
    if index == prefix { Next::Index { bytes: 0, strings } } else { Next::of_strings(strings) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A number behind these bits (§5.1).
    fn number(mut value: u64, first: u8, prefix: u8) -> Vec<u8> {
        let Some(more) = value.checked_sub(prefix.into()) else {
            return vec![first | u8::try_from(value).unwrap()];
        };
        let mut bytes = vec![first | prefix];
        value = more;
        while value >= 0x80 {
            bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
            value >>= 7;
        }
        bytes.push(u8::try_from(value).unwrap());
        bytes
    }

    fn string(length: usize, coded: u8) -> Vec<u8> {
        let mut bytes = number(length as u64, coded, 0x7f);
        // Whatever stands in it is no field.
        bytes.extend(std::iter::repeat_n(0x82, length));
        bytes
    }

    fn representation(kind: u8, index: u64, name: usize, value: usize) -> Vec<u8> {
        let coded = if name.is_multiple_of(2) { 0x80 } else { 0 };
        let (first, prefix) =
            [(0x80, 0x7f), (0x40, 0x3f), (0x20, 0x1f), (0x10, 0x0f), (0, 0x0f)][usize::from(kind)];
        let mut bytes = number(index, first, prefix);
        if matches!(kind, 1 | 3 | 4) {
            if index == 0 {
                bytes.extend(string(name, coded));
            }
            bytes.extend(string(value, coded));
        }
        bytes
    }

    fn counted(block: &[u8]) -> Result<usize, Excess> {
        let mut fields = Fields::new();
        fields.begin(0, block.len());
        fields.take(block).map(|()| fields.count)
    }

    #[test]
    fn fields_are_counted() {
        for (block, count) in [
            (&b""[..], 0),
            // RFC 7541, C.2.1 to C.2.4, C.3.1 and, by Huffman's code, C.4.1.
            (b"\x40\x0acustom-key\x0dcustom-header", 1),
            (b"\x04\x0c/sample/path", 1),
            (b"\x10\x08password\x06secret", 1),
            (b"\x82", 1),
            (b"\x82\x86\x84\x41\x0fwww.example.com", 4),
            (b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff", 4),
            // Of the size of the table; a long index; texts of nothing.
            (b"\x3f\xe1\x1f\x82", 2),
            (b"\xff\x80\x01\x7f\x00\x00\x00\x00\x00\x82", 4),
            // What is not there yet.
            (b"\x82\x40\x05ab", 2),
        ] {
            assert_eq!(counted(block), Ok(count), "{block:x?}");
        }
    }

    #[test]
    fn there_are_no_more_than_so_many() {
        assert_eq!(counted(&[0xbe; FIELDS_MAX]), Ok(FIELDS_MAX));
        for byte in [&[0xbe][..], &[0x20], &[0x0f, 0x01, 0x00], &[0x40, 0x00, 0x00]] {
            assert_eq!(counted(&byte.repeat(FIELDS_MAX + 1)), Err(Excess::Fields), "{byte:x?}");
        }
        // Each block has its own, however many frames it has.
        let mut fields = Fields::new();
        for _ in 0..2 {
            fields.begin(0, 200);
            fields.take(&[0xbe; 200]).unwrap();
        }
        fields.go_on(56);
        fields.take(&[0xbe; 56]).unwrap();
        fields.go_on(1);
        assert_eq!(fields.take(&[0xbe]), Err(Excess::Fields));
    }

    #[test]
    fn numbers_have_an_end() {
        for first in [&b"\xff"[..], b"\x7f", b"\x3f", b"\x0f", b"\x01\x7f", b"\x00\x7f", b"\x00\x01a\xff"] {
            let mut block = first.to_vec();
            block.extend([0x80; 5]);
            assert_eq!(counted(&block), Ok(1), "{first:x?}");
            block.push(0);
            assert_eq!(counted(&block), Err(Excess::Senseless), "{first:x?}");
        }
    }

    #[test]
    fn padding_and_priority_are_no_fields() {
        for (flags, payload, count) in [
            (PADDED, &b"\x03\x82\x82\xbe\xbe\xbe"[..], 2),
            (PRIORITY, b"\xbe\xbe\xbe\xbe\xbe\x82", 1),
            (PADDED | PRIORITY, b"\x01\xbe\xbe\xbe\xbe\xbe\x82\xbe", 1),
            (PADDED, b"\x00\x82", 1),
            // Such frames have an error.
            (PADDED, b"\x09\x82", 0),
            (PADDED | PRIORITY, b"\x02\xbe\xbe\xbe\xbe\xbe", 0),
            (PRIORITY, b"\xbe\xbe", 0),
            (PADDED, b"", 0),
        ] {
            for size in 1..=payload.len().max(1) {
                let mut fields = Fields::new();
                fields.begin(flags, payload.len());
                payload.chunks(size).for_each(|piece| fields.take(piece).unwrap());
                assert_eq!(fields.count, count, "{flags} {payload:x?} {size}");
            }
        }
    }

    proptest! {
        /// As many as were written, however the block is cut into frames and pieces.
        #[test]
        fn each_representation_is_one(
            written in proptest::collection::vec((0..5_u8, prop_oneof![Just(0), 0..400_u64, 0..(1_u64 << 28)], 0..300_usize, 0..300_usize), 0..FIELDS_MAX),
            cuts in proptest::collection::vec(1..700_usize, 1..20),
        ) {
            let block: Vec<u8> = written.iter().flat_map(|(kind, index, name, value)| representation(*kind, *index, *name, *value)).collect();
            let mut fields = Fields::new();
            fields.begin(0, 0);
            let mut rest = block.as_slice();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (frame, left) = rest.split_at((*cut).min(rest.len()));
                fields.go_on(frame.len());
                frame.chunks(1 + cut % 5).for_each(|piece| fields.take(piece).unwrap());
                rest = left;
            }
            prop_assert_eq!(fields.count, written.len());
        }
    }
}
