//! How the audit log is kept.

use std::{path::PathBuf, time::Duration};

use claviger_entity::HumanDuration;

use crate::{
    DatabaseUrl,
    settings::{Judge, SECONDS, bounded, duration, path},
};

/// How the audit log is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// The folder.
    pub dir: PathBuf,
    /// What is recorded.
    pub level: AuditLevel,
    /// Records are on the disk itself before an answer leaves, not only with the operating system.
    pub fsync: bool,
    /// A write that takes longer counts as failed.
    pub write_timeout: Duration,
    /// Bytes after which a segment is closed.
    pub segment_bytes: usize,
    /// Longest time for which records are not signed.
    pub checkpoint_interval: Duration,
    /// How long closed segments are kept.
    pub keep: HumanDuration,
}

/// What is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditLevel {
    /// Every operation.
    Full,
    /// Changes and refusals; uses and looks are counted.
    Control,
}

impl AuditLevel {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Control => "control",
        }
    }
}

/// P7: what is recorded is vouched for after this time at the latest.
const CHECKPOINT_MAX: Duration = Duration::from_secs(10);

impl Judge<'_> {
    pub(crate) fn audit(&mut self, database: &DatabaseUrl) -> Audit {
        Audit {
            dir: self.audit_dir(database),
            level: self
                .parse("audit.level", "must be full or control", |text| match text {
                    "full" => Some(AuditLevel::Full),
                    "control" => Some(AuditLevel::Control),
                    _ => None,
                })
                .unwrap_or(AuditLevel::Full),
            fsync: self
                .parse("audit.fsync", "must be true or false", |text| text.parse().ok())
                .unwrap_or(false),
            write_timeout: self
                .parse("audit.write_timeout", SECONDS, duration)
                .unwrap_or(Duration::from_secs(2)),
            segment_bytes: self
                .parse("audit.segment_bytes", "must be bytes, from 65536 to 1073741824", |text| {
                    bounded(text, 64 << 10, 1 << 30)
                })
                .unwrap_or(64 << 20),
            checkpoint_interval: self
                .parse("audit.checkpoint_interval", "must be a duration from \"1s\" to \"10s\"", |text| {
                    duration(text).filter(|interval| *interval <= CHECKPOINT_MAX)
                })
                .unwrap_or(Duration::from_secs(5)),
            keep: self
                .parse("audit.keep", "must be a duration such as \"90d\", at least one day", |text| {
                    let keep: HumanDuration = text.parse().ok()?;
                    (keep.as_secs() >= 86_400).then_some(keep)
                })
                .unwrap_or(HumanDuration::from_days(90)),
        }
    }

    pub(crate) fn audit_dir(&mut self, database: &DatabaseUrl) -> PathBuf {
        self.parse("audit.dir", "must be a path", path).unwrap_or_else(|| database.folder().join("audit"))
    }
}
