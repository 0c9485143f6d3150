//! base62: alphabet `0-9A-Za-z`, the bytes as one big-endian integer.
//!
//! Leading zero bytes have no weight in an integer, so each run of up to 61 of them is written as a pair: `0` and the letter
//! that counts them.

use crate::CryptoError;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const RUN_MAX: usize = 61;
/// Longest text that is decoded: conversion takes quadratic time.
const DECODE_MAX: usize = 1_024;

/// Text form of bytes.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let mut text = String::new();
    let mut left = zeros;
    while left > 0 {
        let run = left.min(RUN_MAX);
        text.push('0');
        text.push(letter(run));
        left -= run;
    }
    let mut number: Vec<u8> = bytes.iter().skip(zeros).copied().collect();
    let mut digits = Vec::new();
    while !number.is_empty() {
        let mut remainder = 0_u32;
        for byte in &mut number {
            let value = (remainder << 8) | u32::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or(0);
            remainder = value % 62;
        }
        digits.push(letter(remainder as usize));
        let leading = number.iter().take_while(|byte| **byte == 0).count();
        number.drain(..leading);
    }
    text.extend(digits.iter().rev());
    text
}

/// Bytes of a text form.
///
/// # Errors
/// It is not one, or is longer than 1,024 characters.
pub fn decode(text: &str) -> Result<Vec<u8>, CryptoError> {
    const MALFORMED: CryptoError = CryptoError::Malformed("not base62");
    if text.len() > DECODE_MAX {
        return Err(MALFORMED);
    }
    let mut rest = text.bytes().peekable();
    let mut zeros = 0;
    while rest.next_if_eq(&b'0').is_some() {
        zeros += match rest.next().and_then(value) {
            Some(run) if run > 0 => run as usize,
            _ => return Err(MALFORMED),
        };
    }
    let mut number: Vec<u8> = Vec::new();
    for letter in rest {
        let mut carry = value(letter).ok_or(MALFORMED)?;
        for byte in number.iter_mut().rev() {
            let value = u32::from(*byte) * 62 + carry;
            *byte = u8::try_from(value & 0xff).unwrap_or(0);
            carry = value >> 8;
        }
        if carry > 0 {
            number.insert(0, u8::try_from(carry).unwrap_or(0));
        }
    }
    let mut bytes = vec![0; zeros];
    bytes.append(&mut number);
    Ok(bytes)
}

fn letter(value: usize) -> char {
    ALPHABET.get(value).map_or('0', |letter| char::from(*letter))
}

fn value(letter: u8) -> Option<u32> {
    Some(match letter {
        b'0'..=b'9' => u32::from(letter - b'0'),
        b'A'..=b'Z' => u32::from(letter - b'A') + 10,
        b'a'..=b'z' => u32::from(letter - b'a') + 36,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn vectors() {
        let table: [(&[u8], &str); 4] = [
            (&[], ""),
            (&[0, 0, 0], "03"),
            (&[0, 1], "011"),
            (&[0xff; 32], "yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1"),
        ];
        for (bytes, text) in table {
            assert_eq!(encode(bytes), text);
            assert_eq!(decode(text).unwrap(), bytes);
        }
        assert_eq!(decode(&encode(&[0; 130])).unwrap(), [0; 130]);
    }

    proptest! {
        #[test]
        fn round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(decode(&encode(&bytes)).unwrap(), bytes);
        }

        #[test]
        fn decoding_never_panics(text in ".*") {
            let _ = decode(&text);
        }
    }
}
