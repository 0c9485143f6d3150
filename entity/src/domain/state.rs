//! States of a key version (NIST SP 800-57 part 1, §7).

use super::text_enum;

text_enum! {
    /// Where a version is in its life; what it may do follows from nothing else.
    pub enum KeyState("state") {
        /// The standby: published ahead, verifies and decrypts, does not sign yet.
        PreActivation = "pre_activation",
        /// The primary: signs and encrypts. At most one a key.
        Active = "active",
        /// Replaced, still verifies and decrypts.
        Deactivated = "deactivated",
        /// Grace is over; material erased, row kept.
        Retired = "retired",
        /// Stopped for now; may be resumed.
        Suspended = "suspended",
        /// Known or believed to be in other hands; decrypts only to rescue data.
        Compromised = "compromised",
        /// Material erased, row kept.
        Destroyed = "destroyed",
    }
}

impl KeyState {
    /// May sign and encrypt.
    #[must_use]
    pub const fn may_produce(self) -> bool {
        matches!(self, Self::Active)
    }

    /// May verify and decrypt without further permission; also: is in the JWKS when asymmetric.
    #[must_use]
    pub const fn may_consume(self) -> bool {
        matches!(self, Self::PreActivation | Self::Active | Self::Deactivated)
    }

    /// Material is gone for good.
    #[must_use]
    pub const fn is_erased(self) -> bool {
        matches!(self, Self::Retired | Self::Destroyed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_may_produce_may_consume() {
        for &state in KeyState::ALL {
            assert!(!state.may_produce() || state.may_consume());
            assert!(!(state.is_erased() && state.may_consume()));
        }
    }
}
