//! WebSocket sessions: one actor a connection, around the pure state machines of `claviger-protocol`.
//!
//! - [`core`] judges frames; none of what it judges by knows a clock, a socket or actix.
//! - [`outbox`] is what is on its way to a client: counted in bytes, and bounded.
//! - [`SessionHandle`] starts a session and ends it from elsewhere.

mod actor;
mod handle;
pub mod outbox;

pub use actor::{Backstage, Incoming, SizeLimit, TICK, Voice, Welcome};
pub use claviger_protocol::{close, connect, core, device, frame, methods, origin, scopes};
pub use handle::SessionHandle;
