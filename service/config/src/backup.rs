//! Backups that nodes make by themselves.

use std::path::PathBuf;

use crate::{
    DatabaseUrl,
    settings::{Judge, bounded, path},
};

/// Backups that nodes make by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// When: five fields of cron, UTC; `None` = never.
    pub schedule: Option<String>,
    /// Where they go.
    pub directory: PathBuf,
    /// age public keys to which they are encrypted.
    pub recipients: Vec<String>,
    /// How many are kept there.
    pub keep: usize,
}

impl Judge<'_> {
    pub(crate) fn backup(&mut self, database: &DatabaseUrl) -> Backup {
        let rule = "must be five fields of cron, in UTC, such as \"0 3 * * *\"";
        let schedule = self.parse("backup.schedule", rule, |text| {
            (text.split_ascii_whitespace().count() == 5).then(|| text.to_owned())
        });
        let rule = "must be age public keys (age1…), with commas between them";
        let recipients: Option<Vec<String>> = self.parse("backup.recipient", rule, |text| {
            let each = text.split(',').map(|one| {
                let one = one.trim();
                one.starts_with("age1").then(|| one.to_owned())
            });
            each.collect()
        });
        let recipients = recipients.unwrap_or_default();
        if schedule.is_some() && recipients.is_empty() && self.layers.get("backup.recipient").is_none() {
            self.problem("backup.recipient", "is missing beside backup.schedule");
        }
        Backup {
            schedule,
            directory: self
                .parse("backup.directory", "must be a path", path)
                .unwrap_or_else(|| database.folder().join("backups")),
            recipients,
            keep: self
                .parse("backup.keep", "must be a whole number from 1 to 10000", |text| {
                    bounded(text, 1, 10_000)
                })
                .unwrap_or(14),
        }
    }
}
