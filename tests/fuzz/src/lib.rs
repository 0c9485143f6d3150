//! What the fuzz targets share: bounds on each execution, and fixed keys.
//!
//! A target is the parser, the invariants that hold whatever it reads, and [`bounded`] around both. `cargo fuzz` links each target
//! with libFuzzer; a failed assertion is a crash, and its input is kept.

pub mod bounds;
pub mod keys;

pub use bounds::{CPU_LIMIT, bounded, bounded_within};
