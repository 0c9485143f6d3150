//! A line of the log: one JSON object whose last member is the hash of the chain up to it.
//!
//! `{"seq":7,"ts":"…","event":"…",…,"hash":"…"}`. With `content` = the line up to `,"hash":"`, the hash is
//! SHA-256(hash of the line before ‖ content), in base64url. The first line of a chain follows [`genesis`]. Lines that the log writes about
//! itself are called `audit_…`; some of them end in a signature ([`signed`](super::signed)), and nothing else is.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use claviger_crypto::digest;
use memchr::memmem;
use uuid::Uuid;

/// SHA-256 of a chain up to a line.
pub type Head = [u8; 32];

/// Longest line in bytes.
pub const LINE_MAX: usize = 16 << 10;

const START: &[u8] = b"{\"seq\":";
const HASH: &[u8] = b",\"hash\":\"";
/// Bytes of a SHA-256 in base64url.
const HASH_LENGTH: usize = 43;
const END: &[u8] = b"\"}";

/// What the first line of a chain follows.
#[must_use]
pub fn genesis(chain: Uuid) -> Head {
    digest::sha256(format!("claviger audit v1 {chain}").as_bytes())
}

/// Lines up to this length, which nearly all are, are hashed at once. In parts it takes a context on the heap, which costs as much as their hash.
const AT_ONCE: usize = 1 << 10;

/// The hash of a line after another.
#[must_use]
pub fn link(head: &Head, content: &[u8]) -> Head {
    let mut input = [0_u8; AT_ONCE];
    let length = head.len() + content.len();
    if let Some((front, rest)) = input.get_mut(..length).and_then(|all| all.split_at_mut_checked(head.len()))
    {
        front.copy_from_slice(head);
        rest.copy_from_slice(content);
        return digest::sha256(input.get(..length).unwrap_or_default());
    }
    digest::sha256_of(&[head, content])
}

/// In base64url, as lines carry it.
#[must_use]
pub fn text(head: &Head) -> String {
    URL_SAFE_NO_PAD.encode(head)
}

/// The reverse of [`text`].
#[must_use]
pub fn head(text: &[u8]) -> Option<Head> {
    let mut head = [0; 32];
    let length = URL_SAFE_NO_PAD.decode_slice(text, &mut head).ok()?;
    (length == head.len()).then_some(head)
}

/// Writes a line without its end: number and members. `members` are those of a JSON object, without braces.
pub(super) fn open(seq: u64, members: &[u8], into: &mut Vec<u8>) {
    into.extend_from_slice(START);
    let mut digits = [0_u8; 20];
    let (mut rest, mut written) = (seq, 0);
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        written += 1;
        if rest == 0 {
            break;
        }
    }
    into.extend_from_slice(digits.last_chunk::<20>().map_or(&[], |all| all.split_at(20 - written).1));
    into.push(b',');
    into.extend_from_slice(members);
}

/// Ends the line that begins at `start`; answers with its hash.
pub(super) fn close(head: &Head, into: &mut Vec<u8>, start: usize) -> Head {
    let next = link(head, into.get(start..).unwrap_or_default());
    into.extend_from_slice(HASH);
    let mut text = [0_u8; HASH_LENGTH];
    // 32 bytes are 43 letters.
    let _length = URL_SAFE_NO_PAD.encode_slice(next, &mut text);
    into.extend_from_slice(&text);
    into.extend_from_slice(END);
    into.push(b'\n');
    next
}

/// A line that has been read.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// Its number in the chain, from 1.
    pub seq: u64,
    /// What its hash covers beside the line before.
    pub content: &'a [u8],
    /// The hash that it carries.
    pub hash: Head,
}

impl<'a> Line<'a> {
    /// Reads a line (without its newline) by its shape alone; `None` when it has another.
    #[must_use]
    pub fn read(line: &'a [u8]) -> Option<Self> {
        let content = line.strip_suffix(END)?;
        let (content, hash) = content.split_at_checked(content.len().checked_sub(HASH_LENGTH)?)?;
        let content = content.strip_suffix(HASH)?;
        let digits = content.strip_prefix(START)?;
        let length = digits.iter().position(|byte| *byte == b',')?;
        let digits = digits.get(..length).filter(|digits| !digits.starts_with(b"0"))?;
        let mut seq: u64 = 0;
        for digit in digits {
            let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
            seq = seq.checked_mul(10)?.checked_add(digit.into())?;
        }
        (seq > 0).then_some(())?;
        Some(Self { seq, content, hash: head(hash)? })
    }

    /// The hash fits the line before.
    #[must_use]
    pub fn follows(&self, head: &Head) -> bool {
        link(head, self.content) == self.hash
    }

    /// The log says something about itself.
    #[must_use]
    pub fn is_about_the_log(&self) -> bool {
        const EVENT: &[u8] = b"\"event\":\"";
        // After number and time, which are ours: nothing that a caller has chosen comes before.
        let front = self.content.get(..self.content.len().min(96)).unwrap_or_default();
        let event = memmem::find(front, EVENT);
        event.and_then(|at| front.get(at + EVENT.len()..)).is_some_and(|name| name.starts_with(b"audit_"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(head: &Head, seq: u64, members: &str) -> (Vec<u8>, Head) {
        let mut bytes = Vec::new();
        open(seq, members.as_bytes(), &mut bytes);
        let next = close(head, &mut bytes, 0);
        (bytes, next)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(seq in 1..=u64::MAX, text in "[ -~]{0,64}") {
            let members = format!("\"ts\":\"t\",\"event\":\"encrypt\",\"x\":{}", serde_json::json!(text));
            let first = genesis(Uuid::nil());
            let (bytes, next) = line(&first, seq, &members);
            let read = Line::read(bytes.strip_suffix(b"\n").unwrap()).unwrap();
            prop_assert_eq!((read.seq, read.hash), (seq, next));
            prop_assert!(read.follows(&first) && !read.follows(&next) && !read.is_about_the_log());
            let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(&value["x"], &text);
        }

        #[test]
        fn a_changed_byte_is_noticed(at in 0_usize..100, with in any::<u8>()) {
            let first = genesis(Uuid::nil());
            let (mut bytes, _) = line(&first, 12, "\"ts\":\"t\",\"event\":\"encrypt\",\"key\":\"some-key\"");
            bytes.pop();
            let at = at % bytes.len();
            prop_assume!(bytes[at] != with);
            bytes[at] = with;
            let is_sound = Line::read(&bytes).is_some_and(|line| line.seq == 12 && line.follows(&first));
            prop_assert!(!is_sound);
        }
    }

    #[test]
    fn the_hash_is_that_of_both_whatever_their_length() {
        for length in [0, 1, AT_ONCE - 33, AT_ONCE - 32, AT_ONCE - 31, LINE_MAX] {
            let (head, content) = ([7; 32], vec![b'a'; length]);
            assert_eq!(link(&head, &content), digest::sha256(&[&head[..], &content].concat()), "{length}");
        }
    }

    #[test]
    fn other_shapes_are_no_lines() {
        let hash = text(&[7; 32]);
        for (line, fits) in [
            (format!("{{\"seq\":1,\"a\":2,\"hash\":\"{hash}\"}}"), true),
            (format!("{{\"seq\":01,\"a\":2,\"hash\":\"{hash}\"}}"), false),
            (format!("{{\"seq\":0,\"a\":2,\"hash\":\"{hash}\"}}"), false),
            (format!("{{\"seq\":-1,\"a\":2,\"hash\":\"{hash}\"}}"), false),
            (format!("{{\"seq\":99999999999999999999,\"a\":2,\"hash\":\"{hash}\"}}"), false),
            (format!("{{\"seq\":1,\"a\":2,\"hash\":\"{hash}\"}} "), false),
            (format!("{{\"seq\":1,\"a\":2,\"hash\":\"{}\"}}", &hash[1..]), false),
            (String::new(), false),
        ] {
            assert_eq!(Line::read(line.as_bytes()).is_some(), fits, "{line}");
        }
    }

    #[test]
    fn the_log_speaks_of_itself_under_names_of_its_own() {
        let about = |members: &str| {
            let (bytes, _) = line(&[0; 32], 1, members);
            Line::read(bytes.strip_suffix(b"\n").unwrap()).unwrap().is_about_the_log()
        };
        assert!(about("\"ts\":\"2026-01-01T00:00:00Z\",\"event\":\"audit_checkpoint\""));
        assert!(!about(
            "\"ts\":\"2026-01-01T00:00:00Z\",\"event\":\"encrypt\",\"key\":\"\\\"event\\\":\\\"audit_x\""
        ));
    }
}
