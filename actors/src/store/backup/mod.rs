//! What a backup reads and a restore writes, a page of rows at a time.

mod claims;
mod reading;
mod row;
mod tables;
mod writing;

pub(crate) use reading::Reading;
pub(crate) use row::{Rows, decode};
pub(crate) use tables::BackupTable;
pub use tables::{LEFT_OUT, backed_up};
pub(crate) use writing::Writing;
