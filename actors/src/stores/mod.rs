//! The stores: secrets of owners, tokens of third parties, offline tokens.
//!
//! [`core`] judges, [`StoresHandle`] reads and writes, [`Migration`] moves rows to the present version of the key, [`lease`] says who refreshes
//! tokens of third parties. Everything is sealed under the key `stores`, bound to its place, in rows that carry a MAC. What is stored moves no epoch (docs/stores.md).

mod change;
pub mod core;
mod crypt;
mod handle;
mod item;
pub mod lease;
mod migration;
mod refused;
mod tokens;
mod values;

pub use change::{AskAt, Change, Done, Outcome, StillMayAt, Wanted, Write};
pub use core::{Condition, Refusal, Tags};
pub use handle::{Listed, Opened, StoresFailure, StoresHandle};
pub use item::{About, Item, Place, Revision, Store};
pub use lease::{Lease, Purpose, Standing};
pub use migration::{Migration, Pace, Progress};
pub use tokens::{AuthTokens, Claim};
pub use values::{SEALED_MAX, TokenPair, VALUE_MAX, text_of_bytes, text_to_bytes};
