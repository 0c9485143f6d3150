//! Rotation by schedule, and everything else that time does to keys.
//!
//! [`core`] says what is due, as a pure function of ring and time; the [actor](self) asks it every tick and after every change and
//! asks the ring for it. Nothing is remembered between two rounds: what was not done is still due.

mod actor;
pub mod core;
mod figures;
mod handle;

pub use handle::RotationHandle;
