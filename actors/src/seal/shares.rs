//! A master among several people: any so many of their shares give it, fewer tell nothing (Shamir, over GF(256), by the crate `blahaj`).
//!
//! A share is a line of text. Its checksum finds what was copied wrongly; the id of its set finds one of another master, or of another division
//! of the same; a check within the secret finds what is left.

use std::collections::BTreeMap;

use blahaj::{Share, Sharks};
use claviger_crypto::{digest, random, secret::SecretBytes};
use zeroize::Zeroizing;

/// Before the hexadecimal digits.
const PREFIX: &str = "clv-share-";
const FORMAT: u8 = 1;
const SET_BYTES: usize = 8;
/// Format, set, threshold; the share itself begins with its number.
const HEAD_BYTES: usize = 1 + SET_BYTES + 1;
const CHECKSUM_BYTES: usize = 4;
const CHECK_BYTES: usize = 8;
const CHECK: &[u8] = b"claviger shares v1";
/// Longest secret in bytes.
const SECRET_MAX: usize = 4_096;

/// Why a secret is not divided, or not put together. Shares are named by their place among those given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SharesError {
    /// Numbers that make no sense.
    #[error("of 2 to 255 shares, 2 or more must be needed, and no more than there are")]
    Numbers,
    /// Nothing to divide, or too much of it.
    #[error("a secret of 1 to 4096 bytes can be divided")]
    Secret,
    /// Copied wrongly.
    #[error("share {0} of those given is damaged: it was copied wrongly or is none")]
    Damaged(usize),
    /// Of another one.
    #[error(
        "share {0} of those given is of another set than the first: it belongs to another master, or to another division of it"
    )]
    OtherSet(usize),
    /// Twice the same.
    #[error("share {0} of those given was given before")]
    Twice(usize),
    /// Too few.
    #[error("{needed} shares are needed, {given} were given")]
    TooFew {
        /// So many.
        needed: u8,
        /// So many were.
        given: usize,
    },
    /// They don't give what was divided.
    #[error("the shares do not give the secret that was divided; one of them was made up")]
    Forged,
    /// No randomness.
    #[error("the random generator failed")]
    Random,
}

/// Divides a secret into so many shares, of which any `threshold` give it.
///
/// # Errors
/// See [`SharesError`].
pub fn split(secret: &SecretBytes, shares: u8, threshold: u8) -> Result<Vec<Zeroizing<String>>, SharesError> {
    if threshold < 2 || threshold > shares {
        return Err(SharesError::Numbers);
    }
    if secret.is_empty() || secret.len() > SECRET_MAX {
        return Err(SharesError::Secret);
    }
    let set = random::bytes(SET_BYTES).map_err(|_| SharesError::Random)?;
    let checked = Zeroizing::new([secret.expose(), &check(&set, secret.expose())].concat());
    let dealt = Sharks(threshold).dealer(&checked).take(shares.into());
    let text = |share: Share| {
        let share = Zeroizing::new(Vec::from(&share));
        let head = [&[FORMAT], set.as_slice(), &[threshold]].concat();
        let body = Zeroizing::new([head.as_slice(), &share].concat());
        let whole = Zeroizing::new([body.as_slice(), &checksum(&body)].concat());
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + 2 * whole.len()));
        text.push_str(PREFIX);
        for byte in whole.iter() {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
            }
        }
        text
    };
    Ok(dealt.map(text).collect())
}

/// Puts a secret together.
///
/// # Errors
/// See [`SharesError`].
pub fn combine<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<SecretBytes, SharesError> {
    let mut first: Option<(Vec<u8>, u8)> = None;
    let mut shares: BTreeMap<u8, Share> = BTreeMap::new();
    for (place, text) in texts.into_iter().enumerate() {
        let place = place + 1;
        let (set, threshold, share) = read(text).ok_or(SharesError::Damaged(place))?;
        let (expected, _) = first.get_or_insert_with(|| (set.clone(), threshold));
        if *expected != set {
            return Err(SharesError::OtherSet(place));
        }
        let number = share.first().copied().ok_or(SharesError::Damaged(place))?;
        let share = Share::try_from(share.as_slice()).map_err(|_| SharesError::Damaged(place))?;
        if shares.insert(number, share).is_some() {
            return Err(SharesError::Twice(place));
        }
    }
    let (set, needed) = first.ok_or(SharesError::TooFew { needed: 2, given: 0 })?;
    if shares.len() < needed.into() {
        return Err(SharesError::TooFew { needed, given: shares.len() });
    }
    let checked = Sharks(needed).recover(shares.values()).map_err(|_| SharesError::Forged)?;
    let checked = Zeroizing::new(checked);
    let length = checked.len().checked_sub(CHECK_BYTES).ok_or(SharesError::Forged)?;
    let (secret, found) = checked.split_at_checked(length).ok_or(SharesError::Forged)?;
    if !digest::ct_eq(found, &check(&set, secret)) {
        return Err(SharesError::Forged);
    }
    Ok(SecretBytes::new(secret.to_vec()))
}

/// Set, threshold and the share itself.
fn read(text: &str) -> Option<(Vec<u8>, u8, Zeroizing<Vec<u8>>)> {
    let digits = text.trim().strip_prefix(PREFIX)?.as_bytes();
    if !digits.len().is_multiple_of(2)
        || digits.len() / 2 > HEAD_BYTES + 1 + SECRET_MAX + CHECK_BYTES + CHECKSUM_BYTES
    {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut whole = Zeroizing::new(Vec::with_capacity(digits.len() / 2));
    for pair in digits.chunks_exact(2) {
        let [high, low] = pair else { return None };
        whole.push(digit(*high)? << 4 | digit(*low)?);
    }
    let (body, found) = whole.split_at_checked(whole.len().checked_sub(CHECKSUM_BYTES)?)?;
    if found != checksum(body) {
        return None;
    }
    let (head, share) = body.split_at_checked(HEAD_BYTES)?;
    let [FORMAT, set @ .., threshold] = head else { return None };
    // A number, a check, and at least one byte of a secret.
    (share.len() > 1 + CHECK_BYTES && *threshold >= 2)
        .then(|| (set.to_vec(), *threshold, Zeroizing::new(share.to_vec())))
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    *digest::sha256(body).first_chunk().unwrap_or(&[0; CHECKSUM_BYTES])
}

fn check(set: &[u8], secret: &[u8]) -> [u8; CHECK_BYTES] {
    *digest::sha256_of(&[CHECK, set, secret]).first_chunk().unwrap_or(&[0; CHECK_BYTES])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(shares: &[Zeroizing<String>]) -> Vec<&str> {
        shares.iter().map(|share| share.as_str()).collect()
    }

    fn fails(texts: &[&str]) -> SharesError {
        combine(texts.iter().copied()).err().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Any of them that are enough, in whatever order.
        #[test]
        fn enough_shares_give_the_secret_and_fewer_nothing(
            secret in prop::collection::vec(any::<u8>(), 1..80),
            (threshold, more) in (2_u8..6, 0_u8..4),
            seed in any::<prop::sample::Index>(),
        ) {
            let secret = SecretBytes::new(secret);
            let shares = split(&secret, threshold + more, threshold).unwrap();
            let mut given = texts(&shares);
            let turn = seed.index(given.len());
            given.rotate_left(turn);
            given.truncate(threshold.into());
            prop_assert!(combine(given.iter().copied()).unwrap().ct_eq(secret.expose()));
            given.pop();
            let given_now = given.len();
            prop_assert_eq!(fails(&given), SharesError::TooFew { needed: threshold, given: given_now });
        }
    }

    #[test]
    fn every_wrong_letter_is_found() {
        let shares = split(&SecretBytes::new(vec![7; 32]), 3, 2).unwrap();
        let text = shares[0].as_str();
        for place in 0..text.len() {
            let mut wrong: Vec<u8> = text.into();
            wrong[place] = if wrong[place] == b'0' { b'1' } else { b'0' };
            let wrong = String::from_utf8(wrong).unwrap();
            assert_eq!(fails(&[&wrong, &shares[1]]), SharesError::Damaged(1), "{place}");
        }
        for cut in ["", "clv-share-", &text[..text.len() - 2], "clv-share-zz", "clv-share-ä"] {
            assert_eq!(fails(&[&shares[1], cut]), SharesError::Damaged(2), "{cut}");
        }
        // How somebody may have written it down.
        let spoken = format!("  {} \n", text.to_uppercase().replace("CLV-SHARE-", "clv-share-"));
        assert!(combine([spoken.as_str(), &shares[1]]).is_ok());
    }

    #[test]
    fn sets_are_not_mixed_nor_shares_counted_twice() {
        let secret = SecretBytes::new(vec![7; 32]);
        let (one, other) = (split(&secret, 3, 2).unwrap(), split(&secret, 3, 2).unwrap());
        assert_eq!(fails(&[&one[0], &other[1]]), SharesError::OtherSet(2));
        assert_eq!(fails(&[&one[0], &one[0]]), SharesError::Twice(2));
        assert_eq!(fails(&[]), SharesError::TooFew { needed: 2, given: 0 });
        assert!(combine(texts(&one)).is_ok());
    }

    #[test]
    fn a_share_that_was_made_up_gives_no_secret() {
        let shares = split(&SecretBytes::new(vec![7; 32]), 3, 2).unwrap();
        let (set, threshold, mut share) = read(&shares[0]).unwrap();
        share[5] ^= 1;
        let body = [&[FORMAT], set.as_slice(), &[threshold], share.as_slice()].concat();
        let whole = [body.as_slice(), &checksum(&body)].concat();
        let digits: String = whole.iter().map(|byte| format!("{byte:02x}")).collect();
        let forged = format!("{PREFIX}{digits}");
        assert_eq!(fails(&[&forged, &shares[1]]), SharesError::Forged);
    }

    #[test]
    fn numbers_must_make_sense() {
        let secret = SecretBytes::new(vec![7; 32]);
        for (shares, threshold) in [(3, 1), (3, 0), (2, 3), (0, 0)] {
            assert_eq!(split(&secret, shares, threshold).err(), Some(SharesError::Numbers));
        }
        assert_eq!(split(&SecretBytes::new(Vec::new()), 3, 2).err(), Some(SharesError::Secret));
    }
}
