//! Settings: environment > `_FILE` > file > default.
//!
//! Every setting stands in one table. A name that is not in it stops the start, wherever it was written; so does a setting given
//! both as itself and as a file. Errors are one line that names the setting as the operator wrote it, and never its value.

mod error;
mod layers;
mod master;
mod settings;
#[cfg(test)]
mod tests;

pub use error::ConfigError;
pub use settings::{Settings, Tls};
