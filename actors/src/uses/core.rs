//! What is to be set aside. Pure.

use claviger_crypto::uses::MOST;

/// Encryptions after which a version is replaced.
pub(super) const WORN: u64 = MOST / 2;
/// Encryptions that are set aside at once.
const BLOCK: u64 = 1 << 16;

/// How many to set aside for a node that has made so many and has so many set aside.
pub(super) fn wanted(made: u64, set_aside: u64) -> Option<u64> {
    if made == 0 || set_aside.saturating_sub(made) >= BLOCK / 2 {
        return None;
    }
    let over = made.saturating_sub(set_aside);
    // Whoever is fast sets more aside: as much again as since the last time.
    Some(over.saturating_add(BLOCK.max(over)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_set_aside_ahead_of_use() {
        for (made, set_aside, expected) in [
            (0, 0, None),
            (1, 0, Some(1 + BLOCK)),
            (1, BLOCK + 1, None),
            (BLOCK / 2 + 1, BLOCK, Some(BLOCK)),
            (BLOCK * 9, BLOCK, Some(BLOCK * 16)),
        ] {
            assert_eq!(wanted(made, set_aside), expected, "{made} of {set_aside}");
        }
    }

    /// Whenever a node dies, what it has made since the last look is all that nobody knows of.
    #[test]
    fn a_crash_never_loses_what_was_counted() {
        let (mut made, mut set_aside) = (0_u64, 0_u64);
        for second in 1..1_000_u64 {
            made += second * 7_919 % 100_000;
            set_aside += wanted(made, set_aside).unwrap_or(0);
            assert!(set_aside >= made && set_aside - made <= made + 2 * BLOCK, "{made} {set_aside}");
        }
    }
}
