//! Who may call, and what they may do: API keys and policies, as pure data and decisions.
//!
//! [`Access`] is the part of a snapshot that the doors read. Its changes are decided here ([`ApiKeyCommand`], [`PolicyCommand`]) and
//! written by the key ring's one writer, in its transactions and under its epoch.

mod api_keys;
mod error;
mod handing;
mod policies;
mod record;
mod state;
#[cfg(test)]
mod tests;

pub use api_keys::{ApiKeyChange, ApiKeyCommand, ApiKeySubject, NewSecret};
pub use error::AccessError;
pub use handing::{Giver, Handed, may_hand_on};
pub use policies::{PolicyChange, PolicyCommand, PolicySubject};
pub use record::{PolicyRecord, PreviousToken, Principal, PrincipalRecord};
pub use state::{Access, Expected, Manifest};
