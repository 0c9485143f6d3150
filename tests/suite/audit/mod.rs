//! What is on record, and what can be made of it.

mod events;
mod store;
