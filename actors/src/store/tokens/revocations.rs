//! Revoked tokens, and the feed by which nodes learn of them.
//!
//! Rows commit in another order than they were numbered in, so whoever asks for "what is later than the last one I saw" misses some. The
//! feed asks for everything from the oldest transaction that was still open the last time: rows are read again until nothing before them
//! can still come, and taking one in twice is the same as once. What is visible is taken at once, whatever is still open.

use claviger_entity::tables::revocation::{self, Column};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait as _,
    IntoActiveModel as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, QueryTrait as _, Statement,
    TransactionTrait as _,
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
/// Rows that one statement deletes.
const FORGET_ROWS: u64 = 1_000;
/// Statements of one round of forgetting.
const FORGET_ROUNDS: u32 = 50;
/// The number of one's own transaction.
const OWN: &str = "pg_current_xact_id()::text::bigint";

/// What was read.
#[derive(Debug, Default)]
pub struct Feed {
    /// Revocations, each with the moment at which it was made, in milliseconds.
    pub revocations: Vec<(Revocation, i64)>,
    /// What is told of each, sealed.
    pub tellings: Vec<Option<Vec<u8>>>,
    /// Rows that were edited; whom they concerned nobody knows.
    pub damaged: u64,
    /// From where to read the next time.
    pub horizon: i64,
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
        let mut read = Feed { horizon: self.number(&transaction, HORIZON).await?, ..Feed::default() };
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

    /// Revocations since a horizon and, where that is in doubt, all that were made since a moment.
    ///
    /// # Errors
    /// The database failed.
    pub async fn follow_revocations(
        &self,
        keychain: &Keychain,
        horizon: i64,
        since: Option<i64>,
    ) -> Result<Feed, StoreError> {
        let transaction = self.reading().await?;
        let mut read = Feed { horizon: self.number(&transaction, HORIZON).await?, ..Feed::default() };
        let wanted = Condition::any()
            .add(Column::Xid.gte(horizon))
            .add_option(since.map(|since| Column::CreatedAt.gte(since)));
        let query = revocation::Entity::find().filter(wanted);
        let found = transaction.query_all_raw(query.build(transaction.get_database_backend())).await?;
        for row in &found {
            match revocation_of(keychain, row) {
                Ok(revocation) => {
                    read.revocations.push(revocation);
                    read.tellings.push(row.try_get("", "told").unwrap_or_default());
                }
                Err(finding) => read.damaged += damaged(row, finding),
            }
        }
        transaction.rollback().await?;
        Ok(read)
    }

    /// Writes a revocation, with the record of whoever asked for it. What it goes beyond is not needed any more.
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
pub(super) async fn insert(
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
        told: told.map(<[u8]>::to_vec),
        mac: Vec::new(),
    };
    row.mac = mac_of_row(keychain, "revocations", &row, &[]).to_vec();
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
    let row = load::authentic::<revocation::Model>(keychain, "revocations", row, |row| &row.mac)?;
    let (kind, mark) = (Kind::from_row(&row.kind), Mark::from_row(&row.mark));
    let (kind, mark) = kind.zip(mark).ok_or(rows::UNREADABLE)?;
    let revocation = Revocation { kind, mark, cutoff: row.cutoff, expires_at: row.expires_at };
    Ok((revocation, row.created_at))
}

/// Names a damaged row in the log; whoever edited it hides a revocation, and an operator must know.
fn damaged(row: &sea_orm::QueryResult, finding: &str) -> u64 {
    let id = row.try_get::<String>("", "id").unwrap_or_default();
    tracing::error!(revocation = id, finding, "a revocation was damaged and is not in force");
    1
}
