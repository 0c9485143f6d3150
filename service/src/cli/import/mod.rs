//! `claviger import`: values of a system that is being replaced.
//!
//! Its database is read and what it holds is opened here; it goes to the server as from any client, so that rights are asked about and
//! everything is recorded. Nothing is written without --apply. What is there already and says the same is left alone, so that a second run
//! changes nothing; what says something else is newer, or another's, and is only replaced when that is asked for.

mod opening;
mod rows;
mod sending;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, ValueEnum};
use claviger_actors::store::{LegacyDatabase, LegacyPlace};
use claviger_config::PostgresUrl;
use serde_json::{Value, json};

use self::{
    opening::LegacyKeys,
    rows::Reading,
    sending::{Outcome, Sender},
};
use super::{client::Client, failure::Failure, input, output, target::Target};

/// Rows that are read, compared and written at once; a batch of the server takes a hundred items.
const PAGE: u64 = 50;
/// Rows with errors that are listed; all are counted.
const LISTED: usize = 1_000;

/// Values of a system that is being replaced: auth_tokens, offline_tokens, custom_secrets, api_keys.
#[derive(Debug, Args)]
pub(super) struct Import {
    #[command(flatten)]
    target: Target,
    /// File that holds the URL of its database: sqlite://path or postgres://user:password@host/database.
    #[arg(long, value_name = "FILE")]
    source_file: PathBuf,
    /// File that holds the secret that its values are encrypted under; several, one a line, are tried one after the other.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Tables; all that there are unless given.
    #[arg(long = "table", value_enum)]
    tables: Vec<Table>,
    /// Tables whose values are not encrypted.
    #[arg(long = "clear", value_enum)]
    clear: Vec<Table>,
    /// Write. Without it nothing is written, and what would be is counted.
    #[arg(long)]
    apply: bool,
    /// Replace what says something else.
    #[arg(long)]
    overwrite: bool,
}

/// A table of the other system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Table {
    /// Tokens of third parties.
    AuthTokens,
    /// Offline tokens.
    OfflineTokens,
    /// Secrets of users.
    CustomSecrets,
    /// API keys of the other system: they become secrets of their users, named `api-key.<id>`.
    ApiKeys,
}

impl Table {
    const ALL: [Self; 4] = [Self::AuthTokens, Self::OfflineTokens, Self::CustomSecrets, Self::ApiKeys];

    const fn as_str(self) -> &'static str {
        match self {
            Self::AuthTokens => "auth_tokens",
            Self::OfflineTokens => "offline_tokens",
            Self::CustomSecrets => "custom_secrets",
            Self::ApiKeys => "api_keys",
        }
    }
}

/// What came of a table.
#[derive(Default)]
struct Counts {
    rows: u64,
    created: u64,
    changed: u64,
    unchanged: u64,
    conflicts: u64,
    errors: u64,
}

impl Counts {
    fn count(&mut self, outcome: &Outcome) {
        let counter = match outcome {
            Outcome::Created => &mut self.created,
            Outcome::Changed => &mut self.changed,
            Outcome::Unchanged => &mut self.unchanged,
            Outcome::Conflict => &mut self.conflicts,
            Outcome::Error(..) => &mut self.errors,
        };
        *counter += 1;
        self.rows += 1;
    }

    fn json(&self) -> Value {
        json!({
            "rows": self.rows, "created": self.created, "changed": self.changed,
            "unchanged": self.unchanged, "conflicts": self.conflicts, "errors": self.errors,
        })
    }
}

impl Import {
    /// Runs the command.
    ///
    /// # Errors
    /// See [`Failure`]. A row that can't be taken in is none: it is listed, and the exit code is 1.
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let client = Client::authenticated(&self.target)?;
        let keys = match &self.secret_file {
            Some(file) => LegacyKeys::of_secrets(&input::text_file("--secret-file", file)?)?,
            None => LegacyKeys::default(),
        };
        let source = self.open().await?;
        let sender = Sender { client: &client, apply: self.apply, overwrite: self.overwrite };
        let tables = if self.tables.is_empty() { Table::ALL.to_vec() } else { self.tables.clone() };
        let (mut counts, mut problems, mut bad) = (serde_json::Map::new(), Vec::new(), 0);
        for table in tables {
            let Some(reading) = Reading::of(table, &source).await? else {
                if self.tables.contains(&table) {
                    return Err(Failure::Local(format!("the database has no table {}", table.as_str())));
                }
                continue;
            };
            let done = self.take_in(&source, &reading, (&keys, &sender), &mut problems).await?;
            bad += done.errors + done.conflicts;
            counts.insert(table.as_str().to_owned(), done.json());
        }
        output::json(&json!({ "applied": self.apply, "tables": counts, "problems": problems }))?;
        Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn open(&self) -> Result<LegacyDatabase, Failure> {
        const RULE: &str = "--source-file must hold sqlite://path, or postgres://… with sslmode=verify-full unless the server is this machine";
        let url = input::text_file("--source-file", &self.source_file)?;
        let opened = match url.trim().strip_prefix("sqlite://") {
            Some(path) => LegacyDatabase::open(LegacyPlace::File(path.as_ref())).await,
            None => {
                let is_right = PostgresUrl::parse(url.trim()).is_some_and(|url| url.is_verified());
                if !is_right {
                    return Err(Failure::Local(RULE.to_owned()));
                }
                LegacyDatabase::open(LegacyPlace::Server(url.trim())).await
            }
        };
        opened.map_err(|error| Failure::Local(format!("the database to import from: {error}")))
    }

    /// One table, some rows at a time.
    async fn take_in(
        &self,
        source: &LegacyDatabase,
        reading: &Reading,
        (keys, sender): (&LegacyKeys, &Sender<'_>),
        problems: &mut Vec<Value>,
    ) -> Result<Counts, Failure> {
        let (mut counts, mut offset) = (Counts::default(), 0);
        loop {
            let rows = reading.rows(source, (offset, PAGE)).await?;
            let count = rows.len();
            let is_clear = self.clear.contains(&reading.table);
            let (mut entries, mut outcomes) = (Vec::new(), Vec::new());
            for (index, row) in (offset..).zip(rows) {
                let (name, entry) = reading.entry(row, index, |text| keys.open(text, is_clear));
                match entry {
                    Ok(entry) => entries.push((name, entry)),
                    Err(error) => outcomes.push((name, error)),
                }
            }
            outcomes.extend(sender.send(entries).await?);
            for (row, outcome) in outcomes {
                counts.count(&outcome);
                let (code, detail) = match outcome {
                    Outcome::Error(code, detail) => (code, detail),
                    Outcome::Conflict => {
                        ("conflict".to_owned(), "there is another value; --overwrite replaces it".to_owned())
                    }
                    Outcome::Created | Outcome::Changed | Outcome::Unchanged => continue,
                };
                if problems.len() < LISTED {
                    problems.push(json!({ "table": reading.table.as_str(), "row": row, "code": code, "detail": detail }));
                }
            }
            if u64::try_from(count).unwrap_or(0) < PAGE {
                return Ok(counts);
            }
            offset += PAGE;
        }
    }
}
