//! What the database holds of the audit logs: their checkpoints, events to be asked about, and what nodes were started with.

mod anchors;
mod events;
mod settings;
#[cfg(test)]
mod tests;

pub use anchors::NodeAnchor;
pub(super) use events::insert;
pub use events::{EventFilter, EventRow};
pub use settings::{Before, NodeSettings, Starting};
