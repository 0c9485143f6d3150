//! How often versions of data keys encrypt, on all nodes together.
//!
//! AES-GCM under random nonces is good for 2^32 encryptions. The key itself counts those of this process; [`keep`] sets blocks of them
//! aside in the database, ahead of use, so that a crash loses the rest of a block and not the count. A version that has come half way is
//! rotated ([`worn`]); at the end the key refuses.

mod core;
mod keeper;

pub use keeper::keep;
pub(crate) use keeper::worn;
