//! Refresh tokens: one row each, spent ones included, and the exchange of one for a new pair.

use std::time::Duration;

use claviger_crypto::{digest, secret::SecretBytes};
use claviger_entity::tables::refresh_token::{self, Column};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DatabaseTransaction, EntityTrait as _, IntoActiveModel as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, QueryTrait as _, TransactionTrait as _,
    sea_query::Expr,
};
use uuid::Uuid;

use super::{
    super::{Database, EventRow, IdempotencyRecord, StoreError, audit, idempotency, retry, rows, slow},
    revocations,
};
use crate::{
    keyring::record::Time,
    seal::{Binding, Keychain, SealError, mac_of_row},
    tokens::{
        Mark, Revocation,
        core::{self, State, Verdict},
    },
};

/// Rows that one statement deletes.
const FORGET_ROWS: u64 = 1_000;
/// Statements of one round of forgetting.
const FORGET_ROUNDS: u32 = 50;

/// A refresh token as the service knows it. No `Debug`: it holds what is sealed.
#[derive(Clone)]
pub struct RefreshRecord {
    /// Identity; part of the token's text.
    pub id: Uuid,
    /// The family; its id says when it began.
    pub family: Uuid,
    /// The key of its access tokens.
    pub key: Uuid,
    /// Keyed hash of the token.
    pub token_hash: [u8; 32],
    /// When it was issued.
    pub issued_at: Time,
    /// When it ends.
    pub expires_at: Time,
    /// When the access token that was issued with it has ended too: until then its family can be named.
    pub ends_at: Time,
    /// When it was used.
    pub spent_at: Option<Time>,
    /// What is issued for it.
    pub grant: SecretBytes,
    /// The pair that was given for it, where it was kept.
    pub answer: Option<SecretBytes>,
}

/// One exchange, prepared: only the transaction can tell which of its ends it takes.
pub struct Exchange {
    /// The token that is presented.
    pub id: Uuid,
    /// When; the new pair has been made by then.
    pub at: Time,
    /// How long a second use is forgiven.
    pub leeway: Duration,
    /// Family and subject, by which it may be revoked.
    pub marks: Vec<Mark>,
    /// When the family began, in milliseconds.
    pub begun: i64,
    /// The refresh token that follows.
    pub successor: RefreshRecord,
    /// The new pair.
    pub answer: SecretBytes,
    /// The new pair, for a retry under an `Idempotency-Key`.
    pub idempotency: Option<IdempotencyRecord>,
    /// The record of a refresh.
    pub record: String,
    /// The end of the family, should the token have been spent, with its record.
    pub end: (Revocation, String),
    /// What is told of that end, sealed.
    pub told: Option<Vec<u8>>,
}

/// How an exchange ended.
pub enum Outcome {
    /// The new pair is the one that counts.
    Spent,
    /// This pair had been given before, for the same request.
    Repeated(SecretBytes),
    /// It had been spent: the family has ended, and this is remembered of it.
    Reused(Revocation),
    /// It is not what it was.
    Refused(Verdict),
    /// The `Idempotency-Key` was used for another request.
    Mismatch,
}

impl Database {
    /// A refresh token by its id.
    ///
    /// # Errors
    /// The database failed, or the row was edited.
    pub async fn find_refresh(
        &self,
        keychain: &Keychain,
        id: Uuid,
    ) -> Result<Option<RefreshRecord>, StoreError> {
        let row = refresh_token::Entity::find_by_id(id.to_string()).one(&self.connection).await?;
        row.map(|row| record_of(keychain, row)).transpose()
    }

    /// A new family.
    ///
    /// # Errors
    /// The database failed.
    pub async fn add_refresh(&self, keychain: &Keychain, record: &RefreshRecord) -> Result<(), StoreError> {
        retry::retried(|| insert(&self.connection, keychain, record)).await
    }

    /// The key of a family, and when the last of its tokens ends; `None` when nothing of it is left.
    ///
    /// # Errors
    /// The database failed.
    pub async fn family(
        &self,
        keychain: &Keychain,
        family: Uuid,
    ) -> Result<Option<(Uuid, Time)>, StoreError> {
        // A family may be long; the one that ends last is enough, and if its row was edited, the one that was issued last.
        let of_family = || refresh_token::Entity::find().filter(Column::Family.eq(family.to_string()));
        for query in [of_family().order_by_desc(Column::EndsAt), of_family().order_by_desc(Column::IssuedAt)]
        {
            let row = query.limit(1).one(&self.connection).await?;
            if let Some(record) = row.and_then(|row| record_of(keychain, row).ok()) {
                return Ok(Some((record.key, record.ends_at)));
            }
        }
        Ok(None)
    }

    /// When the last refresh token of all ends.
    ///
    /// # Errors
    /// The database failed.
    pub async fn latest_refresh_end(&self) -> Result<Option<Time>, StoreError> {
        let latest = refresh_token::Entity::find().order_by_desc(Column::ExpiresAt).limit(1);
        let latest = latest.one(&self.connection).await?;
        Ok(latest.and_then(|row| chrono::DateTime::from_timestamp_millis(row.expires_at)))
    }

    /// Exchanges a refresh token for the pair that was made for it, or finds out why not.
    ///
    /// # Errors
    /// The database failed. Of an error at the very end nobody can know how it ended; a retry with the same `Idempotency-Key` gets the same
    /// pair, if it was the one that counts.
    pub async fn exchange(&self, keychain: &Keychain, exchange: &Exchange) -> Result<Outcome, StoreError> {
        let (transaction, outcome) = retry::retried(|| async {
            let transaction = self.connection.begin_with_options(Self::writing()).await?;
            let outcome = self.decide(&transaction, keychain, exchange).await?;
            Ok((transaction, outcome))
        })
        .await?;
        match &outcome {
            Outcome::Spent | Outcome::Reused(_) => slow::commit(transaction).await?,
            Outcome::Repeated(_) | Outcome::Refused(_) | Outcome::Mismatch => transaction.rollback().await?,
        }
        Ok(outcome)
    }

    async fn decide(
        &self,
        transaction: &DatabaseTransaction,
        keychain: &Keychain,
        exchange: &Exchange,
    ) -> Result<Outcome, StoreError> {
        // Whoever comes second waits here until the first is done, on whichever node.
        let row = refresh_token::Entity::find_by_id(exchange.id.to_string());
        let Some(row) = row.lock_exclusive().one(transaction).await? else {
            return Ok(Outcome::Refused(Verdict::Expired));
        };
        let record = record_of(keychain, row.clone())?;
        if let Some(wanted) = &exchange.idempotency
            && let Some(kept) =
                idempotency::find(transaction, keychain, &wanted.scope, &wanted.key, exchange.at).await?
        {
            let same = kept.request_hash == wanted.request_hash;
            return Ok(if same { Outcome::Repeated(kept.response) } else { Outcome::Mismatch });
        }
        let revocations = revocations::find(transaction, keychain, &exchange.marks).await?;
        let state = State { expires_at: record.expires_at, spent_at: record.spent_at, begun: exchange.begun };
        let verdict = core::judge(&state, &revocations, exchange.at, exchange.leeway);
        let record_family = record.family.to_string();
        match (verdict, record.answer) {
            (Verdict::Spend, _) => {
                spend(transaction, keychain, exchange, row).await?;
                Ok(Outcome::Spent)
            }
            (Verdict::Again, Some(answer)) => Ok(Outcome::Repeated(answer)),
            (Verdict::Reused | Verdict::Again, _) => {
                let (end, record) = &exchange.end;
                // The latest of the family may have been issued with another lifetime than those of now have.
                let latest = latest_of(transaction, &record_family).await?;
                let end = Revocation { expires_at: end.expires_at.max(latest.unwrap_or(0)), ..*end };
                let told = exchange.told.as_deref();
                revocations::insert(self, transaction, keychain, (&end, told), exchange.at).await?;
                let event = EventRow::read(record.clone());
                audit::insert(transaction, event.as_slice()).await?;
                Ok(Outcome::Reused(end))
            }
            (Verdict::Expired | Verdict::Revoked, _) => Ok(Outcome::Refused(verdict)),
        }
    }

    /// Removes refresh tokens of which nothing is left, neither they nor what was issued with them, a bounded number of them; answers with how many.
    ///
    /// # Errors
    /// The database failed. Some of them may be gone.
    pub async fn forget_refresh(&self, now: Time) -> Result<u64, StoreError> {
        let mut forgotten = 0;
        for _ in 0..FORGET_ROUNDS {
            let oldest = refresh_token::Entity::find()
                .select_only()
                .column(Column::Id)
                .filter(Column::EndsAt.lte(rows::millis(now)))
                .limit(FORGET_ROWS);
            let delete =
                refresh_token::Entity::delete_many().filter(Column::Id.in_subquery(oldest.into_query()));
            let deleted = delete.exec(&self.connection).await?.rows_affected;
            forgotten += deleted;
            if deleted < FORGET_ROWS {
                break;
            }
        }
        Ok(forgotten)
    }
}

/// When the last of a family ends, in milliseconds.
async fn latest_of(transaction: &DatabaseTransaction, family: &str) -> Result<Option<i64>, StoreError> {
    let latest = refresh_token::Entity::find().filter(Column::Family.eq(family));
    let latest = latest.order_by_desc(Column::EndsAt).limit(1).one(transaction).await?;
    Ok(latest.map(|row| row.ends_at))
}

async fn spend(
    transaction: &DatabaseTransaction,
    keychain: &Keychain,
    exchange: &Exchange,
    mut row: refresh_token::Model,
) -> Result<(), StoreError> {
    row.spent_at = Some(rows::millis(exchange.at));
    if !exchange.leeway.is_zero() {
        let binding = Binding::pair(keychain.deployment(), exchange.id);
        let (dek, sealed) = keychain.seal(&binding, &exchange.answer)?;
        (row.answer_dek_id, row.answer) = (Some(dek.to_string()), Some(sealed));
    }
    let mac = mac_of_row(keychain, "refresh_tokens", &row).to_vec();
    let spent = refresh_token::Entity::update_many()
        .col_expr(Column::SpentAt, Expr::value(row.spent_at))
        .col_expr(Column::AnswerDekId, Expr::value(row.answer_dek_id))
        .col_expr(Column::Answer, Expr::value(row.answer))
        .col_expr(Column::Mac, Expr::value(mac))
        .filter(Column::Id.eq(exchange.id.to_string()))
        // The row is locked; should it not be, only one of two finds it so.
        .filter(Column::SpentAt.is_null())
        .exec(transaction)
        .await?;
    if spent.rows_affected != 1 {
        return Err(StoreError::Conflict);
    }
    insert(transaction, keychain, &exchange.successor).await?;
    if let Some(record) = &exchange.idempotency {
        idempotency::insert(transaction, keychain, record).await?;
    }
    let event = EventRow::read(exchange.record.clone());
    audit::insert(transaction, event.as_slice()).await
}

async fn insert(
    connection: &impl ConnectionTrait,
    keychain: &Keychain,
    record: &RefreshRecord,
) -> Result<(), StoreError> {
    let binding = Binding::grant(keychain.deployment(), record.id);
    let (dek, sealed) = keychain.seal(&binding, &record.grant)?;
    let mut row = refresh_token::Model {
        id: record.id.to_string(),
        family: record.family.to_string(),
        key_id: record.key.to_string(),
        token_hash: record.token_hash.to_vec(),
        issued_at: rows::millis(record.issued_at),
        expires_at: rows::millis(record.expires_at),
        ends_at: rows::millis(record.ends_at),
        spent_at: None,
        dek_id: dek.to_string(),
        sealed,
        answer_dek_id: None,
        answer: None,
        mac: Vec::new(),
    };
    row.mac = mac_of_row(keychain, "refresh_tokens", &row).to_vec();
    refresh_token::Entity::insert(row.into_active_model()).exec_without_returning(connection).await?;
    Ok(())
}

fn record_of(keychain: &Keychain, row: refresh_token::Model) -> Result<RefreshRecord, StoreError> {
    let damaged = || StoreError::Seal(SealError::Damaged);
    let mac = mac_of_row(keychain, "refresh_tokens", &row);
    if !digest::ct_eq(&mac, &row.mac) {
        tracing::error!(refresh_token = row.id, "row was changed outside the service");
        return Err(damaged());
    }
    let time = |millis: i64| chrono::DateTime::from_timestamp_millis(millis).ok_or_else(damaged);
    let uuid = |text: &str| Uuid::try_parse(text).map_err(|_| damaged());
    let id = uuid(&row.id)?;
    let binding = Binding::grant(keychain.deployment(), id);
    let answer = match (&row.answer_dek_id, &row.answer) {
        (Some(dek), Some(answer)) => {
            let binding = Binding::pair(keychain.deployment(), id);
            Some(keychain.open_sealed(uuid(dek)?, &binding, answer)?)
        }
        (None, _) | (_, None) => None,
    };
    Ok(RefreshRecord {
        id,
        family: uuid(&row.family)?,
        key: uuid(&row.key_id)?,
        token_hash: row.token_hash.as_slice().try_into().map_err(|_| damaged())?,
        issued_at: time(row.issued_at)?,
        expires_at: time(row.expires_at)?,
        ends_at: time(row.ends_at)?,
        spent_at: row.spent_at.map(time).transpose()?,
        grant: keychain.open_sealed(uuid(&row.dek_id)?, &binding, &row.sealed)?,
        answer,
    })
}
