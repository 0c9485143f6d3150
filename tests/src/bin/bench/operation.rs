//! What is measured, and what each measurement must reach.

use crate::figures::Bound;

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Operation {
    Encrypt32,
    Decrypt32,
    Encrypt4k,
    Decrypt4k,
    Batch,
    Es256,
    EdDsa,
    Rs256,
    Issue,
    Verify,
    Jwks,
}

/// Items of a batch.
pub(crate) const BATCH: usize = 100;

impl Operation {
    pub(crate) const ALL: [Self; 11] = [
        Self::Encrypt32,
        Self::Decrypt32,
        Self::Encrypt4k,
        Self::Decrypt4k,
        Self::Batch,
        Self::Es256,
        Self::EdDsa,
        Self::Rs256,
        Self::Issue,
        Self::Verify,
        Self::Jwks,
    ];

    /// Its name in tables and in `BENCH_ONLY`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Encrypt32 => "encrypt-32",
            Self::Decrypt32 => "decrypt-32",
            Self::Encrypt4k => "encrypt-4k",
            Self::Decrypt4k => "decrypt-4k",
            Self::Batch => "batch-100",
            Self::Es256 => "sign-es256",
            Self::EdDsa => "sign-eddsa",
            Self::Rs256 => "sign-rs256",
            Self::Issue => "hs256-issue",
            Self::Verify => "hs256-verify",
            Self::Jwks => "jwks",
        }
    }

    /// Bytes that are encrypted or signed.
    pub(crate) const fn payload(self) -> usize {
        match self {
            Self::Encrypt4k | Self::Decrypt4k => 4_096,
            Self::Encrypt32 | Self::Decrypt32 | Self::Batch => 32,
            Self::Es256 | Self::EdDsa | Self::Rs256 | Self::Issue | Self::Verify | Self::Jwks => 32,
        }
    }

    /// OpenBao can do it too.
    pub(crate) const fn has_peer(self) -> bool {
        !matches!(self, Self::Issue | Self::Verify | Self::Jwks)
    }

    /// It leaves an audit record.
    pub(crate) const fn is_audited(self) -> bool {
        !matches!(self, Self::Jwks)
    }

    /// Share of the ceiling's throughput. With one connection nothing is promised: the round trip decides.
    pub(crate) const fn of_ceiling(self, connections: u16) -> Bound {
        if connections < 16 {
            return Bound::None;
        }
        match self {
            Self::Encrypt32
            | Self::Decrypt32
            | Self::Encrypt4k
            | Self::Decrypt4k
            | Self::Issue
            | Self::Verify => Bound::AtLeast(if connections < 64 { 0.60 } else { 0.75 }),
            Self::Es256 | Self::EdDsa | Self::Jwks => Bound::AtLeast(0.8),
            Self::Rs256 => Bound::AtLeast(0.9),
            Self::Batch => Bound::None,
        }
    }

    /// Times OpenBao's throughput.
    pub(crate) const fn of_peer(self, connections: u16) -> Bound {
        if connections < 16 {
            return Bound::None;
        }
        match self {
            Self::Encrypt32 | Self::Decrypt32 | Self::Encrypt4k | Self::Decrypt4k => Bound::AtLeast(6.0),
            Self::Es256 | Self::EdDsa => Bound::AtLeast(4.0),
            Self::Rs256 => Bound::AtLeast(2.2),
            Self::Batch => Bound::AtLeast(5.0),
            Self::Issue | Self::Verify | Self::Jwks => Bound::None,
        }
    }

    /// Its slowest hundredth against OpenBao's.
    pub(crate) const fn p99_of_peer(self, connections: u16) -> Bound {
        if connections == 16 && self.has_peer() { Bound::AtMost(0.25) } else { Bound::None }
    }

    /// Share of throughput that the audit log costs.
    pub(crate) const fn of_audit(self, connections: u16) -> Bound {
        match connections {
            16 if self.is_audited() => Bound::AtMost(0.30),
            64 if self.is_audited() => Bound::AtMost(0.15),
            _ => Bound::None,
        }
    }
}
