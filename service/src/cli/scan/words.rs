//! A stream as words: what looks like a credential, and, where somebody wants them, values that may be secrets without looks.
//!
//! One pass, byte by byte; no more is held than the longest word that counts.

use std::io::{self, Read};

use zeroize::Zeroizing;

/// Longest credential.
const CREDENTIAL_MAX: usize = 16 << 10;
/// Shortest and longest secret of a replaced system that is looked for.
const VALUE_MIN: usize = 8;
const VALUE_MAX: usize = 1_024;
/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;

/// How a word looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Looks {
    /// Like something of this service, or a token.
    Credential,
    /// Like nothing in particular.
    Value,
}

/// A word in its place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) looks: Looks,
    pub(super) text: Zeroizing<Vec<u8>>,
    pub(super) line: u64,
}

/// Words of a stream.
pub(super) struct Words<R> {
    reader: R,
    chunk: Zeroizing<Vec<u8>>,
    at: usize,
    /// The word under way; once it is too long, no more of it.
    word: Zeroizing<Vec<u8>>,
    is_too_long: bool,
    /// The line under way, as far as a value in it may count.
    text: Zeroizing<Vec<u8>>,
    is_line_too_long: bool,
    line: u64,
    wants_values: bool,
    found: std::collections::VecDeque<Word>,
    is_over: bool,
}

impl<R: Read> Words<R> {
    pub(super) fn new(reader: R, wants_values: bool) -> Self {
        Self {
            reader,
            chunk: Zeroizing::new(Vec::new()),
            at: 0,
            word: Zeroizing::new(Vec::new()),
            is_too_long: false,
            text: Zeroizing::new(Vec::new()),
            is_line_too_long: false,
            line: 1,
            wants_values,
            found: std::collections::VecDeque::new(),
            is_over: false,
        }
    }

    /// The next word.
    ///
    /// # Errors
    /// The stream fails.
    pub(super) fn next_word(&mut self) -> io::Result<Option<Word>> {
        loop {
            if let Some(word) = self.found.pop_front() {
                return Ok(Some(word));
            }
            if self.is_over {
                return Ok(None);
            }
            match self.chunk.get(self.at).copied() {
                Some(byte) => {
                    self.at += 1;
                    self.take(byte);
                }
                None => self.refill()?,
            }
        }
    }

    fn refill(&mut self) -> io::Result<()> {
        self.chunk.resize(CHUNK, 0);
        self.at = 0;
        let count = loop {
            match self.reader.read(&mut self.chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.chunk.truncate(count);
        if count == 0 {
            self.end_word();
            self.end_line();
            self.is_over = true;
        }
        Ok(())
    }

    fn take(&mut self, byte: u8) {
        let ends_line = matches!(byte, b'\n' | 0);
        if is_of_word(byte) {
            if self.word.len() < CREDENTIAL_MAX {
                self.word.push(byte);
            } else {
                self.is_too_long = true;
            }
        } else {
            self.end_word();
        }
        if ends_line {
            self.end_line();
            self.line += u64::from(byte == b'\n');
        } else if self.wants_values {
            // Room for a name and what is around the value.
            if self.text.len() < VALUE_MAX * 2 {
                self.text.push(byte);
            } else {
                self.is_line_too_long = true;
            }
        }
    }

    fn end_word(&mut self) {
        let word = std::mem::take(&mut *self.word);
        let word = Zeroizing::new(word);
        let is_whole = !std::mem::take(&mut self.is_too_long);
        let credential = credential(&word).filter(|_| is_whole);
        if let Some(credential) = credential {
            let text = Zeroizing::new(credential.to_vec());
            self.found.push_back(Word { looks: Looks::Credential, text, line: self.line });
        } else if self.wants_values && is_whole {
            self.value(&word);
        }
    }

    /// `NAME=value`, `name: "value"`: a value may hold more than words do.
    fn end_line(&mut self) {
        let text = Zeroizing::new(std::mem::take(&mut *self.text));
        let is_whole = !std::mem::take(&mut self.is_line_too_long);
        if !self.wants_values || !is_whole {
            return;
        }
        let Some(place) = text.iter().position(|byte| matches!(byte, b'=' | b':')) else { return };
        let after = text.get(place + 1..).unwrap_or_default();
        let is_around =
            |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b',' | b';' | b'`');
        let start = after.iter().position(|byte| !is_around(byte)).unwrap_or(after.len());
        let end = after.iter().rposition(|byte| !is_around(byte)).map_or(start, |last| last + 1);
        if let Some(value) = after.get(start..end) {
            // A single word has been looked at.
            if value.iter().any(|byte| !is_of_word(*byte)) {
                self.value(value);
            }
        }
    }

    fn value(&mut self, value: &[u8]) {
        if (VALUE_MIN..=VALUE_MAX).contains(&value.len()) {
            let text = Zeroizing::new(value.to_vec());
            self.found.push_back(Word { looks: Looks::Value, text, line: self.line });
        }
    }
}

/// Letters of credentials, of base64 in both alphabets, and of hexadecimal digits.
const fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'+' | b'/')
}

/// The credential that a word is, or holds.
fn credential(word: &[u8]) -> Option<&[u8]> {
    let text = std::str::from_utf8(word).ok()?;
    for prefix in ["clv_", "clvd_", "clvr_"] {
        if let Some(start) = text.find(prefix) {
            let rest = text.get(start..)?;
            let end =
                rest.find(|letter: char| !(letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-')));
            let whole = rest.get(..end.unwrap_or(rest.len()))?;
            return (whole.len() > prefix.len() + 8).then_some(whole.as_bytes());
        }
    }
    // The header of a token begins with `{"`.
    let start = text.find("eyJ")?;
    let rest = text.get(start..)?;
    let end = rest.find(['+', '/']).unwrap_or(rest.len());
    let whole = rest.get(..end)?.trim_end_matches('.');
    let dots = whole.matches('.').count();
    (dots == 2 || dots == 4).then_some(whole.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(text: &[u8], wants_values: bool) -> Vec<(Looks, String, u64)> {
        let mut words = Words::new(text, wants_values);
        let mut all = Vec::new();
        while let Some(word) = words.next_word().unwrap() {
            all.push((word.looks, String::from_utf8_lossy(&word.text).into_owned(), word.line));
        }
        all
    }

    #[test]
    fn credentials_are_found_whatever_is_around_them() {
        let id = "0197f00000000000000000000000abcd";
        let key = format!("clv_{id}_S3cret");
        for (around, line) in [
            (key.clone(), 1),
            (format!("x\ny\nTOKEN={key}"), 3),
            (format!("\"authorization\": \"Bearer {key}\","), 1),
            (format!("https://host/?token={key}&x=1"), 1),
            (format!("A=1\0TOKEN={key}\0B=2"), 1),
            (format!("prefix{key}.suffix"), 1),
        ] {
            let found = words(around.as_bytes(), false);
            assert_eq!(found, [(Looks::Credential, key.clone(), line)], "{around}");
        }
        let token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.AAAA-BB_";
        assert_eq!(words(format!("see {token}.").as_bytes(), false)[0].1, token);
        for none in ["clv_", "eyJhbGciOiJFUzI1NiJ9", "a.b.c", "clv_short", ""] {
            assert_eq!(words(none.as_bytes(), false), [], "{none}");
        }
    }

    #[test]
    fn values_are_whole_words_and_what_follows_a_name() {
        let found = words(b"SECRET=\"open sesame 123\"\nother deterministic-secret x\n", true);
        let texts: Vec<(&str, u64)> = found.iter().map(|(_, text, line)| (text.as_str(), *line)).collect();
        assert!(
            texts.contains(&("open sesame 123", 1)) && texts.contains(&("deterministic-secret", 2)),
            "{texts:?}"
        );
        // What is too long is left alone, and what comes after it is not.
        let long = [vec![b'a'; 3 << 20], b" deterministic-secret".to_vec()].concat();
        let found = words(&long, true);
        assert_eq!(found.last().map(|word| word.1.as_str()), Some("deterministic-secret"));
    }

    proptest! {
        /// Whatever comes, in whatever pieces, it is read to its end, and a key in its midst is found.
        #[test]
        fn anything_can_be_read(before in prop::collection::vec(any::<u8>(), 0..200), after in prop::collection::vec(any::<u8>(), 0..200)) {
            let key = b"clv_0197f00000000000000000000000abcd_S3cret";
            let whole = [&before, b" ".as_slice(), key, b" ", &after].concat();
            let found = words(&whole, true);
            prop_assert!(found.iter().any(|word| word.1.as_bytes() == key));
        }
    }
}
