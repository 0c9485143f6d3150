//! What is said over a session, judged by pure state machines: no clock, no I/O, no actor, no database.
//!
//! - [`core`] judges frames: [`core::Entrance`] the first one, [`core::Conversation`] the rest.
//! - [`frame`] reads requests and writes responses and events.
//! - [`connect`], [`device`], [`origin`], [`scopes`] and [`methods`] are what it judges by, [`close`] is how it ends.
//!
//! All of it takes whatever a stranger sends, so it is fuzzed (tests/fuzz, `frames`).

pub mod close;
pub mod connect;
pub mod core;
pub mod device;
pub mod frame;
pub mod methods;
pub mod origin;
pub mod scopes;
