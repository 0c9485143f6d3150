//! Tokens after they were issued: revoked ones, and refresh tokens.
//!
//! Whether a token is revoked is answered from memory ([`Revocations`]), on every node, without a lock that anybody holds for long. The
//! database has the truth: a node loads it before it serves, follows it with every poll, and counts as confirmed only while it does.
//! [`core`] judges a refresh token, [`TokensHandle`] is the only door.

pub mod core;
#[cfg(test)]
mod core_tests;
mod figures;
mod handle;
mod keeper;
mod mark;
mod refresh;
mod revocations;
#[cfg(test)]
mod revocations_tests;
mod revoke;
mod telling;

pub(crate) use self::handle::Loaded;
pub use self::{
    figures::{Figures, Outcome},
    handle::{TokenFailure, TokensHandle},
    mark::{Kind, Mark, Marker},
    refresh::{Exchanged, Found, NewRefresh, RefreshToken, Successor},
    revocations::{Facts, LIVE_MAX, Revocation, Revocations, begun},
    revoke::{Revoke, Revoked},
    telling::Telling,
};
