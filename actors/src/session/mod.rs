//! WebSocket sessions: one actor a connection, beside a pure state machine of the handshake and the frames.
//!
//! - [`core`] judges frames: [`core::Entrance`] the first one, [`core::Conversation`] the rest.
//! - [`connect`], [`device`], [`origin`], [`scopes`] and [`methods`] are what it judges by; none knows a clock, a socket or actix.
//! - [`outbox`] is what is on its way to a client: counted in bytes, and bounded.
//! - [`SessionHandle`] starts a session and ends it from elsewhere.

mod actor;
pub mod close;
pub mod connect;
pub mod core;
pub mod device;
pub mod frame;
mod handle;
pub mod methods;
pub mod origin;
pub mod outbox;
pub mod scopes;

pub use actor::{Backstage, Incoming, SizeLimit, TICK, Voice, Welcome};
pub use handle::SessionHandle;
