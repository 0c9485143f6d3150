//! What the database holds of the audit logs: their checkpoints, and events to be asked about.

mod anchors;
mod events;
#[cfg(test)]
mod tests;

pub use anchors::NodeAnchor;
pub(super) use events::insert;
pub use events::{EventFilter, EventRow};
