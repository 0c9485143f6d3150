//! What is kept of tokens: which are revoked, and which may still be refreshed.

mod refresh;
mod revocations;

pub use refresh::{Exchange, Outcome, RefreshRecord};
pub(super) use revocations::insert;
pub use revocations::{Feed, FeedPage, FeedReading};
