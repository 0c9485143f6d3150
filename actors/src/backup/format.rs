//! What the lines of a backup say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::keyring::{Epoch, record::Time};

/// The format that is written, and the only one that is read.
pub(super) const FORMAT: u32 = 1;
/// Longest line in bytes. A row holds one value of at most 192 KiB; this is for what may come.
pub(super) const LINE_MAX: usize = 8 << 20;

/// The first line: of what this is a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Format of the file.
    pub format: u32,
    /// Release that made it.
    pub release: String,
    /// The deployment.
    pub deployment: Uuid,
    /// Its incarnation.
    pub incarnation: u64,
    /// Epoch at which it is.
    pub epoch: Epoch,
    /// Newest migration of the schema.
    pub schema: String,
    /// When it was made.
    pub made_at: Time,
    /// Rows by table.
    pub tables: BTreeMap<String, u64>,
}

/// Where the rows of a table begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TableHead {
    pub(super) name: String,
    /// Names of the values of its rows.
    pub(super) columns: Vec<String>,
}

/// The last line: that nothing is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trailer {
    /// Rows by table, as they were written.
    pub tables: BTreeMap<String, u64>,
    /// Rows that were not as the service wrote them, by table.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub damaged: BTreeMap<String, u64>,
    /// SHA-256 over all lines before, hex.
    pub sha256: String,
    /// Code over that hash under the key that authenticates rows, hex.
    pub mac: String,
}

/// A line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    Backup(Header),
    Table(TableHead),
    Row(Vec<Value>),
    Trailer(Trailer),
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_what_they_are() {
        let row = Line::Row(vec!["a".into(), i64::MIN.into(), Value::Null]);
        let text = serde_json::to_string(&row).unwrap();
        assert_eq!(text, r#"{"row":["a",-9223372036854775808,null]}"#);
        assert!(matches!(serde_json::from_str(&text), Ok(Line::Row(values)) if values.len() == 3));
        for text in ["{}", "[", r#"{"rows":[]}"#, r#"{"row":[],"table":{}}"#] {
            assert!(serde_json::from_str::<Line>(text).is_err(), "{text}");
        }
    }
}
