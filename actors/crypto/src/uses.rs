//! How often a key has encrypted under random nonces.
//!
//! With random 96-bit nonces a key must not encrypt more than 2^32 times (NIST SP 800-38D §8.3). Who has the key counts here, in memory;
//! whoever knows of all who have it says how far they may go.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::CryptoError;

/// Encryptions under one key at most, by all who have it.
pub const MOST: u64 = 1 << 32;
/// Encryptions that nobody has counted yet, at most: a bound on what is lost should the process die, and far below what is left.
pub const UNCOUNTED_MAX: u64 = 1 << 24;

/// Counts the encryptions of one key in this process.
#[derive(Debug)]
pub struct Uses {
    made: AtomicU64,
    counted: AtomicU64,
    most: AtomicU64,
    all: AtomicU64,
}

impl Default for Uses {
    fn default() -> Self {
        // Until somebody begins to count, there is no more to hold to than the bound itself.
        Self { made: AtomicU64::new(0), counted: u64::MAX.into(), most: MOST.into(), all: AtomicU64::new(0) }
    }
}

impl Uses {
    /// One more.
    pub(crate) fn take(&self) -> Result<(), CryptoError> {
        let made = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        if made > self.most.load(Ordering::Relaxed) {
            return Err(CryptoError::Spent);
        }
        if made > self.counted.load(Ordering::Relaxed).saturating_add(UNCOUNTED_MAX) {
            return Err(CryptoError::Uncounted);
        }
        Ok(())
    }

    /// Encryptions of this process, those that were refused included.
    #[must_use]
    pub fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// Encryptions of all, as far as they were counted; those that were only set aside included.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.all.load(Ordering::Relaxed)
    }

    /// Somebody counts from now on: what they have not counted yet is bounded.
    pub fn begin(&self) {
        let never = self.counted.compare_exchange(u64::MAX, 0, Ordering::Relaxed, Ordering::Relaxed);
        // Whoever has begun already has counted more.
        let _begun = never.is_ok();
    }

    /// So many of this process are counted, set aside ones included, and so many of all.
    pub fn count(&self, own: u64, all: u64) {
        self.counted.store(own, Ordering::Relaxed);
        self.most.store(MOST.saturating_sub(all.saturating_sub(own)), Ordering::Relaxed);
        self.all.store(all, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_encrypts_so_often_and_no_more() {
        let uses = Uses::default();
        assert_eq!((uses.take(), uses.made()), (Ok(()), 1));
        // The others have used up all but two.
        uses.count(10, MOST + 8);
        assert_eq!(
            (uses.take(), uses.take(), uses.take()),
            (Ok(()), Err(CryptoError::Spent), Err(CryptoError::Spent))
        );
    }

    #[test]
    fn what_nobody_counts_ends_sooner() {
        let uses = Uses::default();
        uses.made.store(UNCOUNTED_MAX, Ordering::Relaxed);
        assert_eq!(uses.take(), Ok(()), "nobody counts at all");
        uses.made.store(UNCOUNTED_MAX - 1, Ordering::Relaxed);
        uses.begin();
        assert_eq!((uses.take(), uses.take()), (Ok(()), Err(CryptoError::Uncounted)));
        uses.count(UNCOUNTED_MAX, UNCOUNTED_MAX);
        assert_eq!((uses.take(), uses.all()), (Ok(()), UNCOUNTED_MAX));
    }
}
