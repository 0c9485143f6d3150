//! Revoked tokens, and the feed by which nodes learn of them.
//!
//! Rows commit in another order than they were numbered in, so whoever asks for "what is later than the last one I saw" misses some. The
//! feed asks for everything from the oldest transaction that was still open the last time: rows are read again until nothing before them
//! can still come, and taking one in twice is the same as once. What is visible is taken at once, whatever is still open.
//!
//! It is read by pages, each a short statement of its own. A reading knows at its start which transactions it has to have seen at its end, so it
//! ends, however many write meanwhile, and whoever gave up in the middle goes on from there.

use claviger_crypto::digest;
use claviger_entity::tables::revocation::{self, Column};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait as _,
    FromQueryResult as _, IdenStatic as _, IntoActiveModel as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, QueryTrait as _, Statement, TransactionTrait as _,
};
use uuid::Uuid;

use super::super::{Database, EventRow, StoreError, audit, load, nodes::HORIZON, retry, rows, slow};
use crate::{
    keyring::record::Time,
    seal::{Keychain, mac_of_row},
    tokens::{Kind, Mark, Revocation},
};

/// Rows that are read at once.
const PAGE: u64 = 10_000;
/// What goes beyond an older revocation replaces it once nobody can be in the middle of reading the older one, in milliseconds.
const REPLACED_AFTER_MS: i64 = 600_000;
/// Rows that one statement deletes.
const FORGET_ROWS: u64 = 1_000;
/// Statements of one round of forgetting.
const FORGET_ROUNDS: u32 = 50;
/// The number of one's own transaction.
const OWN: &str = "pg_current_xact_id()::text::bigint";
/// The first transaction that this statement can't see anything of, since it has not begun.
const END: &str = "pg_snapshot_xmax(pg_current_snapshot())::text::bigint";

/// What was read of all there is.
#[derive(Debug, Default)]
pub struct Feed {
    /// Rows that were edited; whom they concerned nobody knows.
    pub damaged: u64,
    /// From where to read the next time.
    pub horizon: i64,
}

/// A part of what is new.
#[derive(Debug, Default)]
pub struct FeedPage {
    /// Revocations, each with the moment at which it was made, in milliseconds.
    pub revocations: Vec<(Revocation, i64)>,
    /// What is told of each, sealed.
    pub tellings: Vec<Option<Vec<u8>>>,
    /// Rows that were edited; whom they concerned nobody knows.
    pub damaged: u64,
}

/// A reading of what is new, under way. Once it is over, everything has been read that was visible when it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedReading {
    /// No transaction from here on was visible when it began.
    end: i64,
    /// From where to read the next time.
    horizon: i64,
    /// What was made since then is read too, in milliseconds.
    since: Option<i64>,
    stage: Stage,
    /// The database counts from somewhere before: all of it is read.
    is_anew: bool,
}

/// How far a reading is: the last row, by what the rows are ordered by, and by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    ByTransaction(i64, String),
    ByTime(i64, String),
    Over,
}

impl FeedReading {
    /// Nothing is left to read.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// From where to read the next time.
    #[must_use]
    pub const fn horizon(&self) -> i64 {
        self.horizon
    }

    /// The database counts from somewhere before the horizon.
    #[must_use]
    pub const fn is_anew(&self) -> bool {
        self.is_anew
    }

    /// Also reads what was made since a moment; `false` when it is too late for that.
    pub fn look_back(&mut self, since: i64) -> bool {
        let is_in_time = matches!(self.stage, Stage::ByTransaction(..));
        if is_in_time {
            self.since = Some(self.since.map_or(since, |earlier| earlier.min(since)));
        }
        is_in_time
    }

    /// Where it goes on after a page.
    fn after(&self, last: Option<Stage>) -> Stage {
        match (last, &self.stage, self.since) {
            (Some(stage), ..) => stage,
            (None, Stage::ByTransaction(..), Some(since)) => Stage::ByTime(since, String::new()),
            (None, Stage::ByTransaction(..), None) | (None, Stage::ByTime(..) | Stage::Over, _) => {
                Stage::Over
            }
        }
    }
}

impl Database {
    /// Every revocation that still matters, a page at a time.
    ///
    /// # Errors
    /// The database failed.
    pub async fn load_revocations(
        &self,
        keychain: &Keychain,
        now: Time,
        mut take: impl FnMut(Revocation),
    ) -> Result<Feed, StoreError> {
        let transaction = self.reading().await?;
        let mut read = Feed { horizon: self.number(&transaction, HORIZON).await?, damaged: 0 };
        let mut last = String::new();
        loop {
            let page = revocation::Entity::find()
                .filter(Column::ExpiresAt.gt(rows::millis(now)))
                .filter(Column::Id.gt(last.as_str()))
                .order_by_asc(Column::Id)
                .limit(PAGE);
            let page = transaction.query_all_raw(page.build(transaction.get_database_backend())).await?;
            for row in &page {
                match revocation_of(keychain, row) {
                    Ok((revocation, _)) => take(revocation),
                    Err(finding) => read.damaged += damaged(row, finding),
                }
            }
            match page.last().and_then(|row| row.try_get::<String>("", "id").ok()) {
                Some(id) if page.len() as u64 == PAGE => last = id,
                Some(_) | None => break,
            }
        }
        transaction.rollback().await?;
        Ok(read)
    }

    /// Begins to read revocations since a horizon and, where that is in doubt, all that were made since a moment.
    ///
    /// # Errors
    /// The database failed.
    pub async fn begin_feed(&self, horizon: i64, since: Option<i64>) -> Result<FeedReading, StoreError> {
        if !self.is_shared() {
            // Nobody else writes here; only what was made lately may be unknown.
            let stage = since.map_or(Stage::Over, |since| Stage::ByTime(since, String::new()));
            return Ok(FeedReading { end: 0, horizon, since, stage, is_anew: false });
        }
        let sql = format!("SELECT {HORIZON} AS oldest, {END} AS latest");
        let row = self.connection.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
        let row = row.ok_or(StoreError::MetaDamaged)?;
        let (oldest, end): (i64, i64) = (row.try_get("", "oldest")?, row.try_get("", "latest")?);
        let is_anew = oldest < horizon;
        let stage = Stage::ByTransaction(if is_anew { 0 } else { horizon }, String::new());
        Ok(FeedReading { end, horizon: oldest, since, stage, is_anew })
    }

    /// Reads the next rows, at most so many.
    ///
    /// # Errors
    /// The database failed; the reading is where it was.
    pub async fn read_feed(
        &self,
        keychain: &Keychain,
        reading: &mut FeedReading,
        limit: u64,
    ) -> Result<FeedPage, StoreError> {
        let after = |column: Column, at: i64, id: &str| {
            Condition::all()
                .add(column.gte(at))
                .add(Condition::any().add(column.gt(at)).add(Column::Id.gt(id)))
        };
        let (query, column) = match &reading.stage {
            Stage::ByTransaction(xid, id) => {
                let new = after(Column::Xid, *xid, id).add(Column::Xid.lt(reading.end));
                (revocation::Entity::find().filter(new), Column::Xid)
            }
            Stage::ByTime(at, id) => {
                (revocation::Entity::find().filter(after(Column::CreatedAt, *at, id)), Column::CreatedAt)
            }
            Stage::Over => return Ok(FeedPage::default()),
        };
        let query = query.order_by_asc(column).order_by_asc(Column::Id).limit(limit);
        let found =
            self.connection.query_all_raw(query.build(self.connection.get_database_backend())).await?;
        let mut page = FeedPage::default();
        for row in &found {
            match revocation_of(keychain, row) {
                Ok(revocation) => {
                    page.revocations.push(revocation);
                    page.tellings.push(row.try_get("", "told").unwrap_or_default());
                }
                Err(finding) => page.damaged += damaged(row, finding),
            }
        }
        let is_full = u64::try_from(found.len()).unwrap_or(u64::MAX) >= limit;
        let last = match found.last().filter(|_| is_full) {
            Some(row) => {
                let id = row.try_get("", "id")?;
                let at: i64 = row.try_get("", column.as_str())?;
                Some(if column.as_str() == Column::Xid.as_str() {
                    Stage::ByTransaction(at, id)
                } else {
                    Stage::ByTime(at, id)
                })
            }
            None => None,
        };
        reading.stage = reading.after(last);
        Ok(page)
    }

    /// Writes a revocation, with the record of whoever asked for it. What it goes beyond is not needed any more, once it is so old that nobody
    /// is in the middle of reading it.
    ///
    /// # Errors
    /// The database failed. Of an error at the very end nobody can know whether they were written.
    pub async fn revoke(
        &self,
        keychain: &Keychain,
        (revocation, told): (&Revocation, Option<Vec<u8>>),
        (at, record): (Time, String),
    ) -> Result<(), StoreError> {
        let event = EventRow::read(record);
        let transaction = retry::retried(|| async {
            let transaction = self.connection.begin_with_options(Self::writing()).await?;
            if let Some(cutoff) = revocation.cutoff {
                revocation::Entity::delete_many()
                    .filter(Column::Mark.eq(revocation.mark.as_bytes().to_vec()))
                    .filter(Column::Cutoff.lte(cutoff))
                    .filter(Column::ExpiresAt.lte(revocation.expires_at))
                    .filter(Column::CreatedAt.lt(rows::millis(at) - REPLACED_AFTER_MS))
                    .exec(&transaction)
                    .await?;
            }
            insert(self, &transaction, keychain, (revocation, told.as_deref()), at).await?;
            audit::insert(&transaction, event.as_slice()).await?;
            Ok(transaction)
        });
        slow::commit(transaction.await?).await?;
        Ok(())
    }

    /// The database has a revocation that goes as far and is not damaged.
    ///
    /// # Errors
    /// The database failed.
    pub async fn has_revocation(
        &self,
        keychain: &Keychain,
        revocation: &Revocation,
    ) -> Result<bool, StoreError> {
        let mark = revocation.mark.as_bytes().to_vec();
        let query = revocation::Entity::find().filter(Column::Mark.eq(mark));
        let found =
            self.connection.query_all_raw(query.build(self.connection.get_database_backend())).await?;
        let (before, until) = (revocation.cutoff.unwrap_or(i64::MAX), revocation.expires_at);
        Ok(found.iter().filter_map(|row| revocation_of(keychain, row).ok()).any(|(known, _)| {
            known.kind == revocation.kind
                && known.cutoff.unwrap_or(i64::MAX) >= before
                && known.expires_at >= until
        }))
    }

    /// Removes revocations of tokens that have expired, a bounded number of them; answers with how many.
    ///
    /// # Errors
    /// The database failed. Some of them may be gone.
    pub async fn forget_revocations(&self, now: Time) -> Result<u64, StoreError> {
        let mut forgotten = 0;
        for _ in 0..FORGET_ROUNDS {
            let oldest = revocation::Entity::find()
                .select_only()
                .column(Column::Id)
                .filter(Column::ExpiresAt.lte(rows::millis(now)))
                .limit(FORGET_ROWS);
            let delete =
                revocation::Entity::delete_many().filter(Column::Id.in_subquery(oldest.into_query()));
            let deleted = delete.exec(&self.connection).await?.rows_affected;
            forgotten += deleted;
            if deleted < FORGET_ROWS {
                break;
            }
        }
        Ok(forgotten)
    }

    /// A number of transactions; without a server there are none, and nobody else who looks.
    async fn number(&self, connection: &impl ConnectionTrait, sql: &str) -> Result<i64, StoreError> {
        if !self.is_shared() {
            return Ok(0);
        }
        let statement = Statement::from_string(DbBackend::Postgres, format!("SELECT {sql} AS xid"));
        let row = connection.query_one_raw(statement).await?.ok_or(StoreError::MetaDamaged)?;
        Ok(row.try_get("", "xid")?)
    }
}

/// Adds a row to a transaction.
pub(in crate::store) async fn insert(
    database: &Database,
    transaction: &DatabaseTransaction,
    keychain: &Keychain,
    (revocation, told): (&Revocation, Option<&[u8]>),
    at: Time,
) -> Result<(), StoreError> {
    let mut row = revocation::Model {
        id: Uuid::now_v7().to_string(),
        kind: revocation.kind.as_str().to_owned(),
        mark: revocation.mark.as_bytes().to_vec(),
        cutoff: revocation.cutoff,
        expires_at: revocation.expires_at,
        created_at: rows::millis(at),
        xid: database.number(transaction, OWN).await?,
        key_id: revocation.of.map(|key| key.to_string()),
        told: told.map(<[u8]>::to_vec),
        mac: Vec::new(),
    };
    row.mac = mac_of_row(keychain, "revocations", &row).to_vec();
    revocation::Entity::insert(row.into_active_model()).exec_without_returning(transaction).await?;
    Ok(())
}

/// Revocations under any of these marks, as the transaction sees them.
pub(super) async fn find(
    connection: &impl ConnectionTrait,
    keychain: &Keychain,
    marks: &[Mark],
) -> Result<Vec<Revocation>, StoreError> {
    let marks = marks.iter().map(|mark| mark.as_bytes().to_vec());
    let query = revocation::Entity::find().filter(Column::Mark.is_in(marks));
    let found = connection.query_all_raw(query.build(connection.get_database_backend())).await?;
    let read = |row| match revocation_of(keychain, row) {
        Ok((revocation, _)) => Ok(revocation),
        // Of whom it spoke is known here, so it counts as it must have been meant.
        Err(finding) => {
            damaged(row, finding);
            Err(StoreError::Seal(crate::seal::SealError::Damaged))
        }
    };
    found.iter().map(read).collect()
}

fn revocation_of(keychain: &Keychain, row: &sea_orm::QueryResult) -> Result<(Revocation, i64), &'static str> {
    let row = revocation::Model::from_query_result(row, "").map_err(|_| rows::UNREADABLE)?;
    if !digest::ct_eq(&mac_of_row(keychain, "revocations", &row), &row.mac) {
        return Err(load::EDITED);
    }
    let of = row.key_id.as_deref().and_then(|key| Uuid::try_parse(key).ok());
    let (kind, mark) = (Kind::from_row(&row.kind), Mark::from_row(&row.mark));
    let (kind, mark) = kind.zip(mark).ok_or(rows::UNREADABLE)?;
    let revocation = Revocation { kind, mark, cutoff: row.cutoff, expires_at: row.expires_at, of };
    Ok((revocation, row.created_at))
}

/// Names a damaged row in the log; whoever edited it hides a revocation, and an operator must know.
fn damaged(row: &sea_orm::QueryResult, finding: &str) -> u64 {
    let id = row.try_get::<String>("", "id").unwrap_or_default();
    tracing::error!(revocation = id, finding, "a revocation was damaged and is not in force");
    1
}
