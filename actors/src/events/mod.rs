//! What happens, told to whoever listens, with nothing missed.
//!
//! The change log in the database says what happened to the ring, in order; a node reads it once for all who listen there, and again for
//! one who was away. [`core`] says which lines are events and who wants them, the hub distributes, [`EventsHandle`] is the only door
//! (docs/decisions/0021).

pub mod core;
#[cfg(test)]
mod core_tests;
mod figures;
mod handle;
mod hub;
mod line;
mod presence;
mod prune;
mod subscription;
mod sync;

pub use self::{
    core::{BadTopic, Event, EventName, Topics},
    figures::Figures,
    handle::{EventsError, EventsHandle},
    line::{Line, Mark, Place, Settled, Stretch, Tag},
    presence::{Presence, Present},
    subscription::{Gone, Seat, Subscription},
    sync::{Seen, Sight},
};
