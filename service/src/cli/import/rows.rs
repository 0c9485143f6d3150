//! Rows of the other system as what is to be stored here.

use chrono::{DateTime, Utc};
use claviger_actors::store::{LegacyDatabase, LegacyRow, StoreError};
use zeroize::Zeroizing;

use super::{Table, sending::Outcome};
use crate::cli::failure::Failure;

/// A value on its way.
pub(super) enum Entry {
    /// A secret of an owner.
    Secret { owner: String, name: String, value: Zeroizing<String>, description: Option<String> },
    /// Tokens of a user.
    AuthTokens {
        user: String,
        provider: String,
        access_token: Zeroizing<String>,
        refresh_token: Option<Zeroizing<String>>,
        access_expires_at: Option<DateTime<Utc>>,
        refresh_expires_at: Option<DateTime<Utc>>,
    },
    /// An offline token of a user.
    OfflineToken { user: String, token: Zeroizing<String> },
}

/// A column, by the names that it has had; the last member says that it may be missing.
type Wanted = (&'static [&'static str], bool);

/// A table with the columns that it has of those that are wanted.
pub(super) struct Reading {
    pub(super) table: Table,
    columns: Vec<Option<&'static str>>,
}

const USER: Wanted = (&["user_id", "owner", "keycloak_user_id"], false);

/// What is read of each table; the first names its rows.
const fn wanted(table: Table) -> &'static [Wanted] {
    match table {
        Table::AuthTokens => &[
            (&["id"], true),
            USER,
            (&["identity_provider", "provider"], false),
            (&["access_token"], false),
            (&["refresh_token"], true),
            (&["access_token_expires_at"], true),
            (&["refresh_token_expires_at"], true),
        ],
        Table::OfflineTokens => &[(&["id"], true), USER, (&["offline_token"], false)],
        Table::CustomSecrets => &[
            (&["id"], true),
            USER,
            (&["name", "secret_name"], false),
            (&["value", "secret_value"], false),
            (&["description"], true),
        ],
        Table::ApiKeys => &[(&["id"], false), USER, (&["key", "value"], false), (&["name"], true)],
    }
}

impl Reading {
    /// A table as it is there; `None` when it is not.
    ///
    /// # Errors
    /// It lacks a column, or the database failed.
    pub(super) async fn of(table: Table, source: &LegacyDatabase) -> Result<Option<Self>, Failure> {
        let there = source.columns(table.as_str()).await.map_err(|error| failed(&error))?;
        if there.is_empty() {
            return Ok(None);
        }
        let mut columns = Vec::new();
        for (names, is_optional) in wanted(table) {
            let found = names.iter().copied().find(|name| there.iter().any(|column| column == name));
            if found.is_none() && !is_optional {
                let names = names.join(" or ");
                return Err(Failure::Local(format!("the table {} has no column {names}", table.as_str())));
            }
            columns.push(found);
        }
        Ok(Some(Self { table, columns }))
    }

    /// Some rows; columns that are not there are empty.
    ///
    /// # Errors
    /// The database failed.
    pub(super) async fn rows(
        &self,
        source: &LegacyDatabase,
        range: (u64, u64),
    ) -> Result<Vec<LegacyRow>, Failure> {
        let names: Vec<&'static str> = self.columns.iter().flatten().copied().collect();
        let rows = source.rows(self.table.as_str(), &names, range).await.map_err(|error| failed(&error))?;
        let whole = |row: LegacyRow| {
            let mut cells = row.into_iter();
            self.columns.iter().map(|column| column.and_then(|_| cells.next().flatten())).collect()
        };
        Ok(rows.into_iter().map(whole).collect())
    }

    /// What a row is called, and what is to be stored of it.
    pub(super) fn entry(
        &self,
        row: LegacyRow,
        index: u64,
        open: impl Fn(&str) -> Result<Zeroizing<String>, Outcome>,
    ) -> (String, Result<Entry, Outcome>) {
        let mut cells = row.into_iter();
        // Names of rows are ids. A table without them is named by the place of the row, not by its user.
        let id = cells.next().flatten().map(|id| id.to_string());
        let called = id.clone().unwrap_or_else(|| format!("#{}", index + 1));
        (called, self.entry_of(id, &mut cells, open))
    }

    fn entry_of(
        &self,
        id: Option<String>,
        cells: &mut impl Iterator<Item = Option<Zeroizing<String>>>,
        open: impl Fn(&str) -> Result<Zeroizing<String>, Outcome>,
    ) -> Result<Entry, Outcome> {
        let missing =
            || Outcome::Error("incomplete".to_owned(), "a column that must have a value has none".to_owned());
        let mut next = || cells.next().flatten();
        let mut text = || next().filter(|text| !text.is_empty()).ok_or_else(missing);
        let user = text()?.to_string();
        match self.table {
            Table::AuthTokens => {
                let (provider, access) = (text()?.to_string(), text()?);
                Ok(Entry::AuthTokens {
                    user,
                    provider,
                    access_token: open(&access)?,
                    refresh_token: next()
                        .filter(|token| !token.is_empty())
                        .map(|token| open(&token))
                        .transpose()?,
                    access_expires_at: time(next())?,
                    refresh_expires_at: time(next())?,
                })
            }
            Table::OfflineTokens => Ok(Entry::OfflineToken { user, token: open(&text()?)? }),
            Table::CustomSecrets => {
                let (name, value) = (text()?.to_string(), text()?);
                let description = next().filter(|text| !text.is_empty()).map(|text| text.to_string());
                Ok(Entry::Secret { owner: user, name, value: open(&value)?, description })
            }
            Table::ApiKeys => {
                let (name, value) = (format!("api-key.{}", id.ok_or_else(missing)?), text()?);
                let description = next().filter(|text| !text.is_empty()).map(|text| text.to_string());
                Ok(Entry::Secret { owner: user, name, value: open(&value)?, description })
            }
        }
    }
}

/// Seconds since the epoch; NULL, and 0 in rows of older releases, never come.
fn time(cell: Option<Zeroizing<String>>) -> Result<Option<DateTime<Utc>>, Outcome> {
    let Some(cell) = cell.filter(|text| !text.is_empty()) else { return Ok(None) };
    let seconds: Option<i64> = cell.parse().ok();
    match seconds {
        Some(0) => Ok(None),
        Some(seconds) if seconds > 0 => {
            let far = || Outcome::Error("time_not_valid".to_owned(), "a time is out of range".to_owned());
            DateTime::from_timestamp(seconds, 0).map(Some).ok_or_else(far)
        }
        Some(_) | None => Err(Outcome::Error(
            "time_not_valid".to_owned(),
            "a time must be whole seconds since the epoch".to_owned(),
        )),
    }
}

fn failed(error: &StoreError) -> Failure {
    Failure::Local(format!("the database to import from: {error}"))
}
