//! What one connection of HTTP/2 (RFC 9113) may ask for, counted from its frames as they pass. No I/O.

/// Longest block of header fields, as it is sent. Each of its bytes may stand for a field that was sent before.
const BLOCK_MAX: usize = 16 << 10;
/// Requests at a time that a client is told it may have.
const STREAMS: u32 = 100;
/// Requests at a time with which a client is done, which may not have read what it is told.
const STREAMS_MAX: usize = 256;

/// Before the first frame of a client stands a text (§3.4).
const PREFACE: usize = 24;
const HEAD: usize = 9;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RESET: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const CONTINUATION: u8 = 0x9;

const END_STREAM: u8 = 0x1;
const MAX_CONCURRENT_STREAMS: u16 = 0x3;

/// More than a client may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Excess {
    /// A block of header fields is too long.
    #[error("a head is longer than {BLOCK_MAX} bytes")]
    Block,
    /// There are too many requests at a time.
    #[error("there are more than {STREAMS_MAX} requests at a time")]
    Streams,
}

/// The head of a frame (§4.1).
struct Head {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

/// Finds heads of frames in bytes that come in pieces.
struct Heads {
    skip: usize,
    head: [u8; HEAD],
    have: usize,
}

impl Heads {
    const fn after(skip: usize) -> Self {
        Self { skip, head: [0; HEAD], have: 0 }
    }

    fn next(&mut self, bytes: &mut &[u8]) -> Option<Head> {
        let skipped = self.skip.min(bytes.len());
        *bytes = bytes.get(skipped..)?;
        self.skip -= skipped;
        for to in self.head.iter_mut().skip(self.have) {
            let (first, rest) = bytes.split_first()?;
            (*to, *bytes) = (*first, rest);
            self.have += 1;
        }
        self.have = 0;
        let [length @ .., kind, flags, a, b, c, d] = self.head;
        let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        self.skip = length;
        Some(Head { length, kind, flags, stream: u32::from_be_bytes([a & 0x7f, b, c, d]) })
    }
}

/// What a connection has asked for and not got yet.
pub(super) struct Account {
    asked: Heads,
    answered: Heads,
    block: usize,
    last: u32,
    open: Vec<u32>,
}

impl Account {
    /// Of a connection on which nothing was said.
    #[must_use]
    pub(super) const fn new() -> Self {
        let (asked, answered) = (Heads::after(PREFACE), Heads::after(0));
        Self { asked, answered, block: 0, last: 0, open: Vec::new() }
    }

    /// The client has sent this.
    ///
    /// # Errors
    /// [`Excess`].
    pub(super) fn asked(&mut self, mut bytes: &[u8]) -> Result<(), Excess> {
        while let Some(head) = self.asked.next(&mut bytes) {
            match head.kind {
                HEADERS => {
                    self.block = head.length;
                    // Others are trailers.
                    if head.stream > self.last {
                        self.last = head.stream;
                        self.open.push(head.stream);
                    }
                }
                CONTINUATION => self.block = self.block.saturating_add(head.length),
                RESET => self.over(head.stream),
                _ => continue,
            }
            if self.block > BLOCK_MAX {
                return Err(Excess::Block);
            }
            if self.open.len() > STREAMS_MAX {
                return Err(Excess::Streams);
            }
        }
        Ok(())
    }

    /// The client was sent this.
    pub(super) fn answered(&mut self, mut bytes: &[u8]) {
        while let Some(head) = self.answered.next(&mut bytes) {
            let is_end = head.flags & END_STREAM != 0 && matches!(head.kind, DATA | HEADERS);
            if is_end || head.kind == RESET {
                self.over(head.stream);
            }
        }
    }

    fn over(&mut self, stream: u32) {
        self.open.retain(|open| *open != stream);
    }
}

/// The first frame of a server up to its payload, with one setting before the others: how many requests there may be at a time. `None` = it
/// is no such frame.
#[must_use]
pub(super) fn greeting(first: &[u8]) -> Option<([u8; HEAD], [u8; HEAD + 6])> {
    let head: &[u8; HEAD] = first.first_chunk()?;
    let [high, middle, low, SETTINGS, 0, 0, 0, 0, 0] = *head else { return None };
    let length = u32::from_be_bytes([0, high, middle, low]) + 6;
    let [_, high, middle, low] = length.to_be_bytes();
    let [name, setting] = MAX_CONCURRENT_STREAMS.to_be_bytes();
    let [a, b, c, d] = STREAMS.to_be_bytes();
    Some((*head, [high, middle, low, SETTINGS, 0, 0, 0, 0, 0, name, setting, a, b, c, d]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, length: usize) -> Vec<u8> {
        let length = u32::try_from(length).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend(stream.to_be_bytes());
        // Whatever stands in it is no head.
        frame.extend(std::iter::repeat_n(HEADERS, u32::from_be_bytes(length) as usize));
        frame
    }

    fn began() -> Account {
        let mut account = Account::new();
        account.asked(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        account.asked(&frame(SETTINGS, 0, 0, 12)).unwrap();
        account
    }

    #[test]
    fn heads_have_an_end() {
        let mut account = began();
        account.asked(&frame(HEADERS, 0, 1, BLOCK_MAX - 1)).unwrap();
        account.asked(&frame(CONTINUATION, 4, 1, 1)).unwrap();
        // Each has its own.
        account.asked(&frame(HEADERS, 4, 3, BLOCK_MAX)).unwrap();
        assert_eq!(account.asked(&frame(CONTINUATION, 0, 3, 1)), Err(Excess::Block));
        assert_eq!(began().asked(&frame(HEADERS, 0, 1, BLOCK_MAX + 1)), Err(Excess::Block));
        // Data may be longer.
        began().asked(&frame(DATA, 0, 1, 1 << 20)).unwrap();
    }

    #[test]
    fn requests_at_a_time_have_a_number_and_their_end_makes_room() {
        let mut account = began();
        let mut stream = 1;
        let mut ask = |account: &mut Account| {
            stream += 2;
            (stream, account.asked(&frame(HEADERS, 5, stream, 10)))
        };
        for _ in 0..STREAMS_MAX {
            assert_eq!(ask(&mut account).1, Ok(()));
        }
        for end in
            [frame(DATA, END_STREAM, 3, 9), frame(HEADERS, END_STREAM | 4, 5, 9), frame(RESET, 0, 7, 4)]
        {
            account.answered(&end);
            assert_eq!(ask(&mut account).1, Ok(()));
        }
        // What is no end, is none of an open one, or of one that has ended.
        for other in [frame(DATA, 0, 9, 9), frame(SETTINGS, 1, 0, 0), frame(DATA, END_STREAM, 3, 0)] {
            account.answered(&other);
        }
        account.asked(&frame(RESET, 0, 9, 4)).unwrap();
        let (last, asked) = ask(&mut account);
        assert_eq!(asked, Ok(()));
        // Trailers are no request.
        assert_eq!(account.asked(&frame(HEADERS, 5, last, 10)), Ok(()));
        assert_eq!(ask(&mut account).1, Err(Excess::Streams));
    }

    #[test]
    fn a_greeting_says_one_thing_more() {
        let mut first = frame(SETTINGS, 0, 0, 6);
        let (head, said) = greeting(&first).unwrap();
        assert_eq!(head, first[..HEAD]);
        let mut all = said.to_vec();
        all.extend(first.drain(HEAD..));
        let mut heads = Heads::after(0);
        let mut bytes = all.as_slice();
        assert_eq!(heads.next(&mut bytes).map(|head| head.length), Some(12));
        assert_eq!(all[HEAD..HEAD + 6], [0, 3, 0, 0, 0, 100]);
        assert_eq!(bytes.len(), 12);
        for other in [frame(SETTINGS, 1, 0, 0), frame(DATA, 0, 1, 6), vec![0; 8], Vec::new()] {
            assert!(greeting(&other).is_none());
        }
    }

    proptest! {
        /// However the bytes are cut.
        #[test]
        fn pieces_make_no_difference(
            frames in proptest::collection::vec((0..10_u8, 0..8_u8, 0..600_u32, 0..20_000_usize), 0..60),
            cuts in proptest::collection::vec(1..5_000_usize, 1..20),
        ) {
            let all: Vec<u8> = frames.into_iter().flat_map(|(kind, flags, stream, length)| frame(kind, flags, stream, length)).collect();
            let (mut whole, mut parts) = (began(), began());
            let expected = whole.asked(&all);
            let (mut rest, mut said) = (all.as_slice(), Ok(()));
            for cut in cuts.iter().cycle() {
                if rest.is_empty() || said.is_err() {
                    break;
                }
                let (piece, left) = rest.split_at((*cut).min(rest.len()));
                (said, rest) = (parts.asked(piece), left);
            }
            prop_assert_eq!(said, expected);
            prop_assert_eq!(parts.open, whole.open);
        }
    }
}
