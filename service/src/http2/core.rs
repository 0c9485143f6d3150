//! What one connection of HTTP/2 (RFC 9113) may ask for, counted from its frames as they pass. No I/O.
//!
//! | a client may not | since the framework |
//! |---|---|
//! | send long heads | takes 16 MiB |
//! | send heads of many fields ([`fields`](super::fields), RFC 7541) | keeps some 100 bytes for a field of one byte |
//! | have many requests at a time | takes any number |
//! | take many back, or have them reset, before they are answered | goes on working on them |
//! | send many frames with little data | keeps some 250 bytes for each that was not read yet |
//! | ask for a large table of the fields of answers | makes it, and looks through it for each field |

use super::fields::{FIELDS_MAX, Fields};

/// Longest block of header fields, as it is sent.
const BLOCK_MAX: usize = 64 << 10;
/// Requests at a time that a client is told it may have.
const STREAMS: u32 = 100;
/// Longest head, as it is before it is packed, that a client is told it may send.
const LIST: u32 = 64 << 10;
/// Requests at a time with which a client is done, which may not have read what it is told.
const STREAMS_MAX: usize = 256;
/// Largest table of fields of answers that a client may ask for, which is that of browsers.
const TABLE_MAX: u32 = 64 << 10;
/// Frames of data that may have little in them.
const FRAMES_MAX: usize = 1_000;
/// What the others have in them on an average.
const FRAME_USEFUL: usize = 64;
/// Longest padding of a frame, with the byte that says so.
const PADDING_MAX: usize = 256;
/// Requests that may have ended without an answer, as far as others were not answered since.
const RESETS_MAX: usize = 256;

/// Before the first frame of a client stands a text (§3.4).
const PREFACE: usize = 24;
const HEAD: usize = 9;
/// A setting (§6.5.1).
const SETTING: usize = 6;
/// The first frame that a client is sent, up to what the framework says.
pub(super) const GREETING: usize = HEAD + 2 * SETTING;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RESET: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const PUSH: u8 = 0x5;
const CONTINUATION: u8 = 0x9;

const END_STREAM: u8 = 0x1;
const PADDED: u8 = 0x8;
const HEADER_TABLE_SIZE: u16 = 0x1;
const MAX_CONCURRENT_STREAMS: u16 = 0x3;
const MAX_HEADER_LIST_SIZE: u16 = 0x6;

/// More than a client may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Excess {
    /// A block of header fields is too long.
    #[error("a head is longer than {BLOCK_MAX} bytes")]
    Block,
    /// A block of header fields has too many.
    #[error("a head has more than {FIELDS_MAX} fields")]
    Fields,
    /// There are too many requests at a time.
    #[error("there are more than {STREAMS_MAX} requests at a time")]
    Streams,
    /// Too many requests were taken back.
    #[error("more than {RESETS_MAX} requests ended before they were answered")]
    Resets,
    /// Too little data in too many frames.
    #[error("there are more than {FRAMES_MAX} frames with little or no data")]
    Frames,
    /// Too large a table.
    #[error("the table of fields is to be larger than {TABLE_MAX} bytes")]
    Table,
    /// No client says that.
    #[error("what it says makes no sense")]
    Senseless,
}

/// The head of a frame (§4.1).
#[derive(Debug)]
struct Head {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

/// What comes next.
#[derive(Debug)]
enum Part<'a> {
    Head(Head),
    /// Some of what stands behind it.
    Payload(&'a [u8]),
}

/// Finds heads of frames in bytes that come in pieces.
struct Frames {
    left: usize,
    head: [u8; HEAD],
    have: usize,
}

impl Frames {
    const fn after(left: usize) -> Self {
        Self { left, head: [0; HEAD], have: 0 }
    }

    fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<Part<'a>> {
        if self.left > 0 && !bytes.is_empty() {
            let (piece, rest) = bytes.split_at_checked(self.left).unwrap_or((*bytes, &[]));
            self.left -= piece.len();
            *bytes = rest;
            return Some(Part::Payload(piece));
        }
        for to in self.head.iter_mut().skip(self.have) {
            let (first, rest) = bytes.split_first()?;
            (*to, *bytes) = (*first, rest);
            self.have += 1;
        }
        self.have = 0;
        let [length @ .., kind, flags, a, b, c, d] = self.head;
        let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        self.left = length;
        Some(Part::Head(Head { length, kind, flags, stream: u32::from_be_bytes([a & 0x7f, b, c, d]) }))
    }
}

/// Settings of a client, which come in pieces.
#[derive(Debug, Default)]
struct Settings {
    setting: [u8; SETTING],
    have: usize,
}

impl Settings {
    fn take(&mut self, bytes: &[u8]) -> Result<(), Excess> {
        for byte in bytes {
            if let Some(to) = self.setting.get_mut(self.have) {
                *to = *byte;
            }
            self.have += 1;
            if self.have < SETTING {
                continue;
            }
            self.have = 0;
            let [high, low, value @ ..] = self.setting;
            let is_table = u16::from_be_bytes([high, low]) == HEADER_TABLE_SIZE;
            if is_table && u32::from_be_bytes(value) > TABLE_MAX {
                return Err(Excess::Table);
            }
        }
        Ok(())
    }
}

/// Frames of data, and how much is in them at least.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Data {
    frames: usize,
    useful: usize,
}

impl Data {
    const fn add(&mut self, useful: usize) {
        self.frames = self.frames.saturating_add(1);
        self.useful = self.useful.saturating_add(useful);
    }

    const fn take_off(&mut self, other: Self) {
        self.frames = self.frames.saturating_sub(other.frames);
        self.useful = self.useful.saturating_sub(other.useful);
    }
}

/// A request that has not ended.
#[derive(Debug, PartialEq, Eq)]
struct Stream {
    id: u32,
    is_answered: bool,
    data: Data,
}

/// What the client is in the middle of saying.
#[derive(Debug)]
enum Within {
    Block,
    Settings(Settings),
    Other,
}

/// What a connection has asked for and not got yet.
pub(super) struct Account {
    asked: Frames,
    answered: Frames,
    within: Within,
    block: usize,
    fields: Fields,
    last: u32,
    open: Vec<Stream>,
    /// Of all requests that have not ended, and of those that the client took back.
    data: Data,
    resets: usize,
    /// The last request, when nothing was open at the last look.
    rested: Option<u32>,
}

impl Account {
    /// Of a connection on which nothing was said.
    #[must_use]
    pub(super) const fn new() -> Self {
        Self {
            asked: Frames::after(PREFACE),
            answered: Frames::after(0),
            within: Within::Other,
            block: 0,
            fields: Fields::new(),
            last: 0,
            open: Vec::new(),
            data: Data { frames: 0, useful: 0 },
            resets: 0,
            rested: None,
        }
    }

    /// The client has sent this.
    ///
    /// # Errors
    /// [`Excess`].
    pub(super) fn asked(&mut self, mut bytes: &[u8]) -> Result<(), Excess> {
        while let Some(part) = self.asked.next(&mut bytes) {
            match (part, &mut self.within) {
                (Part::Head(head), _) => self.begins(&head)?,
                (Part::Payload(piece), Within::Block) => self.fields.take(piece)?,
                (Part::Payload(piece), Within::Settings(settings)) => settings.take(piece)?,
                (Part::Payload(_), Within::Other) => {}
            }
        }
        Ok(())
    }

    fn begins(&mut self, head: &Head) -> Result<(), Excess> {
        self.within = Within::Other;
        match head.kind {
            HEADERS => {
                self.within = Within::Block;
                self.block = head.length;
                self.fields.begin(head.flags, head.length);
                // Others are trailers.
                if head.stream > self.last {
                    self.last = head.stream;
                    self.open.push(Stream { id: head.stream, is_answered: false, data: Data::default() });
                }
            }
            CONTINUATION => {
                self.within = Within::Block;
                self.block = self.block.saturating_add(head.length);
                self.fields.go_on(head.length);
            }
            SETTINGS => self.within = Within::Settings(Settings::default()),
            // The last one costs no more than the request.
            DATA if head.flags & END_STREAM == 0 => {
                let padding = if head.flags & PADDED == 0 { 0 } else { PADDING_MAX };
                let useful = head.length.saturating_sub(padding);
                self.data.add(useful);
                if let Some(open) = self.open.iter_mut().find(|open| open.id == head.stream) {
                    open.data.add(useful);
                }
            }
            RESET => {
                // What it has sent may not be read yet, so it goes on counting.
                let ended = self.over(head.stream);
                self.resets += usize::from(ended.is_some_and(|stream| !stream.is_answered));
            }
            // That is a block of fields too, and for servers (§8.4).
            PUSH => return Err(Excess::Senseless),
            _ => {}
        }
        if self.block > BLOCK_MAX {
            return Err(Excess::Block);
        }
        if self.open.len() > STREAMS_MAX {
            return Err(Excess::Streams);
        }
        if self.data.frames > FRAMES_MAX + self.data.useful / FRAME_USEFUL {
            return Err(Excess::Frames);
        }
        // Clients can make the service reset a stream, too.
        if self.resets > RESETS_MAX {
            return Err(Excess::Resets);
        }
        Ok(())
    }

    /// The client was sent this.
    pub(super) fn answered(&mut self, mut bytes: &[u8]) {
        while let Some(part) = self.answered.next(&mut bytes) {
            let Part::Head(head) = part else { continue };
            if head.kind == HEADERS
                && let Some(open) = self.open.iter_mut().find(|open| open.id == head.stream)
            {
                open.is_answered = true;
            }
            let is_end = head.flags & END_STREAM != 0 && matches!(head.kind, DATA | HEADERS);
            if !is_end && head.kind != RESET {
                continue;
            }
            let Some(ended) = self.over(head.stream) else { continue };
            self.data.take_off(ended.data);
            if is_end {
                self.resets = self.resets.saturating_sub(1);
            } else if !ended.is_answered {
                self.resets += 1;
            }
        }
    }

    fn over(&mut self, stream: u32) -> Option<Stream> {
        let at = self.open.iter().position(|open| open.id == stream)?;
        Some(self.open.swap_remove(at))
    }

    /// No request is open.
    #[must_use]
    pub(super) const fn is_quiet(&self) -> bool {
        self.open.is_empty()
    }

    /// Looked at now and then: no request is open, and none was since the last look.
    #[must_use]
    pub(super) fn has_rested(&mut self) -> bool {
        let now = self.is_quiet().then_some(self.last);
        let before = std::mem::replace(&mut self.rested, now);
        now.is_some() && now == before
    }
}

/// The first frame of a server up to its payload, with two settings before the others: how many requests there may be at a time, and how
/// long their heads may be. `None` = it is no such frame.
#[must_use]
pub(super) fn greeting(first: &[u8]) -> Option<([u8; HEAD], [u8; GREETING])> {
    let head: &[u8; HEAD] = first.first_chunk()?;
    let [high, middle, low, SETTINGS, 0, 0, 0, 0, 0] = *head else { return None };
    let length = u32::from_be_bytes([0, high, middle, low]) + 2 * 6;
    let [_, high, middle, low] = length.to_be_bytes();
    let [name, streams] = MAX_CONCURRENT_STREAMS.to_be_bytes();
    let [a, b, c, d] = STREAMS.to_be_bytes();
    let [other, list] = MAX_HEADER_LIST_SIZE.to_be_bytes();
    let [e, f, g, h] = LIST.to_be_bytes();
    let said =
        [high, middle, low, SETTINGS, 0, 0, 0, 0, 0, name, streams, a, b, c, d, other, list, e, f, g, h];
    Some((*head, said))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    /// Whatever stands in it is no head, and one field that has no end.
    fn filled(kind: u8, flags: u8, stream: u32, length: usize) -> Vec<u8> {
        let mut payload = b"\x01\x7f\xff\xff\x7f".to_vec();
        payload.resize(length, HEADERS);
        frame(kind, flags, stream, &payload)
    }

    fn head(stream: u32) -> Vec<u8> {
        frame(HEADERS, 5, stream, b"\x82\x87\x84")
    }

    fn began() -> Account {
        let mut account = Account::new();
        account.asked(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        account.asked(&frame(SETTINGS, 0, 0, &[0, 1, 0, 1, 0, 0, 0, 4, 0, 255, 255, 255])).unwrap();
        account
    }

    #[test]
    fn heads_have_an_end() {
        let mut account = began();
        account.asked(&filled(HEADERS, 0, 1, BLOCK_MAX - 1)).unwrap();
        account.asked(&filled(CONTINUATION, 4, 1, 1)).unwrap();
        // Each has its own.
        account.asked(&filled(HEADERS, 4, 3, BLOCK_MAX)).unwrap();
        assert_eq!(account.asked(&filled(CONTINUATION, 0, 3, 1)), Err(Excess::Block));
        assert_eq!(began().asked(&filled(HEADERS, 0, 1, BLOCK_MAX + 1)), Err(Excess::Block));
        // Data may be longer.
        began().asked(&filled(DATA, 0, 1, 1 << 20)).unwrap();
    }

    #[test]
    fn heads_have_so_many_fields() {
        let mut account = began();
        for stream in [1, 3] {
            account.asked(&frame(HEADERS, 0, stream, &[0xbe; 200])).unwrap();
            // What stands between them is none of it, though the framework refuses it.
            account.asked(&frame(DATA, 0, stream, &[0xbe; 200])).unwrap();
            account.asked(&frame(CONTINUATION, 4, stream, &[0xbe; FIELDS_MAX - 200])).unwrap();
        }
        assert_eq!(account.asked(&frame(CONTINUATION, 4, 3, &[0xbe])), Err(Excess::Fields));
        assert_eq!(began().asked(&frame(HEADERS, 4, 1, &[0xff; 9])), Err(Excess::Senseless));
        // A block of another kind.
        assert_eq!(began().asked(&frame(PUSH, 4, 1, &[0xbe; 9])), Err(Excess::Senseless));
    }

    #[test]
    fn tables_of_answers_have_an_end() {
        for (payload, is_too_much) in [
            (&b"\0\x01\0\x01\0\0"[..], false),
            (b"\0\x01\0\x01\0\x01", true),
            (b"\0\x01\xff\xff\xff\xff", true),
            (b"\x01\x01\xff\xff\xff\xff", false),
            (b"\0\x04\0\x01\0\x01\0\x03\0\0\0\x09\0\x01\0\x01\0\x01", true),
            (b"\0\0\0\x01\0\x01\0\x01\0\0\0\x01", false),
            (b"", false),
            (b"\0\x01\xff", false),
        ] {
            let expected = if is_too_much { Err(Excess::Table) } else { Ok(()) };
            let mut account = began();
            // One that stops within a setting has an error, and no part of the next.
            account.asked(&frame(SETTINGS, 0, 0, &[0, 1, 0])).unwrap();
            assert_eq!(account.asked(&frame(SETTINGS, 0, 0, payload)), expected, "{payload:?}");
        }
    }

    #[test]
    fn frames_have_something_in_them() {
        for (flags, length, few) in
            [(0, 0, true), (0, 63, true), (0, 64, false), (PADDED, 256, true), (PADDED, 320, false)]
        {
            let (mut account, data) = (began(), filled(DATA, flags, 1, length));
            account.asked(&head(1)).unwrap();
            let asked = (0..100_000).try_for_each(|_| account.asked(&data));
            assert_eq!(asked, if few { Err(Excess::Frames) } else { Ok(()) }, "{flags} {length}");
        }
        // The last one of each is none of them.
        let mut account = began();
        (0..FRAMES_MAX).for_each(|_| account.asked(&frame(DATA, 0, 1, &[])).unwrap());
        account.asked(&frame(DATA, END_STREAM, 1, &[])).unwrap();
        assert_eq!(account.asked(&frame(DATA, 0, 1, &[])), Err(Excess::Frames));
    }

    #[test]
    fn frames_of_requests_that_were_answered_are_gone() {
        for (end, is_gone) in
            [(frame(DATA, END_STREAM, 1, &[]), true), (frame(RESET, 0, 1, &[0; 4]), true), (vec![], false)]
        {
            let mut account = began();
            account.asked(&head(1)).unwrap();
            (0..FRAMES_MAX).for_each(|_| account.asked(&frame(DATA, 0, 1, b"{}")).unwrap());
            account.answered(&end);
            // One that was taken back may be in work still.
            account.asked(&frame(RESET, 0, 1, &[0; 4])).unwrap();
            account.asked(&head(3)).unwrap();
            let asked = (0..100).try_for_each(|_| account.asked(&frame(DATA, 0, 3, b"{}")));
            assert_eq!(asked.is_ok(), is_gone);
        }
    }

    #[test]
    fn requests_are_not_taken_back_all_the_time() {
        let reset = |stream| frame(RESET, 0, stream, &[0; 4]);
        for (before, by_service, is_too_much) in [
            (vec![], false, true),
            (vec![], true, true),
            (vec![frame(HEADERS, 4, 0, b"\x88")], false, false),
            (vec![frame(DATA, END_STREAM, 0, &[])], false, false),
        ] {
            let mut account = began();
            let asked = (0..10_000).map(|number| 2 * number + 1).try_for_each(|stream: u32| {
                account.asked(&head(stream))?;
                for answer in &before {
                    let mut answer = answer.clone();
                    answer[5..9].copy_from_slice(&stream.to_be_bytes());
                    account.answered(&answer);
                }
                if by_service {
                    account.answered(&reset(stream));
                }
                account.asked(&reset(stream))
            });
            assert_eq!(asked, if is_too_much { Err(Excess::Resets) } else { Ok(()) });
        }
        // Others that are answered make up for them.
        let mut account = began();
        for stream in (1..40_000).step_by(4) {
            account.asked(&head(stream)).unwrap();
            account.asked(&reset(stream)).unwrap();
            account.asked(&head(stream + 2)).unwrap();
            account.answered(&frame(HEADERS, END_STREAM, stream + 2, b"\x88"));
        }
        assert_eq!((account.resets, account.open.len()), (0, 0));
    }

    #[test]
    fn requests_at_a_time_have_a_number_and_their_end_makes_room() {
        let mut account = began();
        let mut stream = 1;
        let mut ask = |account: &mut Account| {
            stream += 2;
            (stream, account.asked(&head(stream)))
        };
        for _ in 0..STREAMS_MAX {
            assert_eq!(ask(&mut account).1, Ok(()));
        }
        for end in
            [filled(DATA, END_STREAM, 3, 9), filled(HEADERS, END_STREAM | 4, 5, 9), filled(RESET, 0, 7, 4)]
        {
            account.answered(&end);
            assert_eq!(ask(&mut account).1, Ok(()));
        }
        // What is no end, is none of an open one, or of one that has ended.
        for other in [filled(DATA, 0, 9, 9), filled(SETTINGS, 1, 0, 0), filled(DATA, END_STREAM, 3, 0)] {
            account.answered(&other);
        }
        account.asked(&filled(RESET, 0, 9, 4)).unwrap();
        let (last, asked) = ask(&mut account);
        assert_eq!(asked, Ok(()));
        // Trailers are no request.
        assert_eq!(account.asked(&head(last)), Ok(()));
        assert_eq!(ask(&mut account).1, Err(Excess::Streams));
    }

    #[test]
    fn rest_is_from_one_look_to_the_next() {
        let mut account = began();
        assert_eq!([account.has_rested(), account.has_rested()], [false, true]);
        let answer = |account: &mut Account, stream| {
            account.answered(&frame(HEADERS, END_STREAM, stream, b"\x88"));
        };
        // Something came and went; something is open; it has just ended.
        account.asked(&head(1)).unwrap();
        answer(&mut account, 1);
        assert!(!account.has_rested());
        account.asked(&head(3)).unwrap();
        assert!(!account.is_quiet());
        assert_eq!([account.has_rested(), account.has_rested()], [false, false]);
        answer(&mut account, 3);
        assert!(account.is_quiet());
        assert!(!account.has_rested());
        // Pings are no request.
        account.asked(&frame(6, 0, 0, &[0; 8])).unwrap();
        assert!(account.has_rested());
    }

    #[test]
    fn a_greeting_says_two_things_more() {
        let first = filled(SETTINGS, 0, 0, 6);
        let (head, said) = greeting(&first).unwrap();
        assert_eq!(head, first[..HEAD]);
        let mut all = said.to_vec();
        all.extend(&first[HEAD..]);
        let mut bytes = all.as_slice();
        let Some(Part::Head(head)) = Frames::after(0).next(&mut bytes) else { panic!("no head") };
        assert_eq!((head.length, bytes.len()), (18, 18));
        assert_eq!(bytes[..12], [0, 3, 0, 0, 0, 100, 0, 6, 0, 1, 0, 0]);
        for other in [filled(SETTINGS, 1, 0, 0), filled(DATA, 0, 1, 6), vec![0; 8], Vec::new()] {
            assert!(greeting(&other).is_none());
        }
    }

    /// Frames that mean something more often than not.
    fn frames() -> impl Strategy<Value = Vec<u8>> {
        let payload = prop_oneof![
            (0..20_000_usize).prop_map(|length| filled(0, 0, 0, length).split_off(HEAD)),
            proptest::collection::vec(any::<u8>(), 0..300),
            proptest::collection::vec(0x80..0xff_u8, 0..200),
            (0..3_u8, 0..4_u8).prop_map(|(name, value)| vec![0, name, 0, value, 0, 0]),
        ];
        let flags = prop_oneof![0..8_u8, any::<u8>()];
        (0..10_u8, flags, 0..600_u32, payload)
            .prop_map(|(kind, flags, stream, payload)| frame(kind, flags, stream, &payload))
    }

    proptest! {
        /// However the bytes are cut.
        #[test]
        fn pieces_make_no_difference(
            frames in proptest::collection::vec(frames(), 0..60),
            cuts in proptest::collection::vec(prop_oneof![1..20_usize, 1..5_000_usize], 1..20),
        ) {
            let all: Vec<u8> = frames.concat();
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
            prop_assert_eq!((parts.data, parts.resets), (whole.data, whole.resets));
            if expected.is_ok() {
                prop_assert_eq!(format!("{:?}", parts.fields), format!("{:?}", whole.fields));
            }
        }
    }
}
