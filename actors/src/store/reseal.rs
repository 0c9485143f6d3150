//! Sealed rows, a batch at a time, to the data-encryption key that seals now.
//!
//! A batch is one short transaction. It takes only rows that nobody else works on, so it never waits while others wait for it, and each
//! row is written only if it still is as it was read. Whoever is cut off at any row begins again and finds what is left.

use std::collections::HashMap;

use claviger_entity::{
    KeyType, VersionNumber,
    tables::{idempotency, key, key_version, refresh_token},
};
use sea_orm::{
    ColumnTrait as _, Condition, DatabaseTransaction, EntityTrait, FromQueryResult as _, PaginatorTrait as _,
    QueryFilter as _, QueryOrder as _, QueryResult, QuerySelect, QueryTrait as _, Select,
    TransactionTrait as _,
    sea_query::{Expr, LockBehavior, LockType},
};
use uuid::Uuid;

use super::{Database, StoreError, load, seal, slow};
use crate::{
    keyring::record::Time,
    seal::{Binding, Keychain, mac_of_row},
};

/// Where sealed values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealedTable {
    /// Material of versions.
    Versions,
    /// What is issued for refresh tokens.
    RefreshTokens,
    /// Answers kept for retries.
    Answers,
}

impl SealedTable {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Versions, Self::RefreshTokens, Self::Answers];
}

/// A row that was looked at: its key, in two parts where it has two.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    id: String,
    second: String,
    version: i64,
}

/// What came of one batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Rows that are sealed under the present key now.
    pub moved: u64,
    /// Rows that could not be opened; they were left alone.
    pub failed: u64,
    /// From where to go on; `None` at the end of the table.
    pub next: Option<Cursor>,
}

/// One batch under way.
struct Move<'a> {
    transaction: &'a DatabaseTransaction,
    keychain: &'a Keychain,
    /// The key that seals.
    target: String,
    from: &'a Cursor,
    limit: u64,
}

impl Database {
    /// Moves the next rows of a table.
    ///
    /// # Errors
    /// The database failed; nothing of the batch was written then.
    pub async fn reseal(
        &self,
        keychain: &Keychain,
        (table, from): (SealedTable, &Cursor),
        (now, limit): (Time, u64),
    ) -> Result<Resealed, StoreError> {
        let target = keychain.current();
        let transaction = self.connection.begin_with_options(Self::writing()).await?;
        let batch = Move { transaction: &transaction, keychain, target: target.to_string(), from, limit };
        let batch = match table {
            SealedTable::Versions => batch.versions().await?,
            SealedTable::RefreshTokens => batch.refresh_tokens().await?,
            SealedTable::Answers => batch.answers().await?,
        };
        seal::moved(&transaction, keychain, target, (now, batch.moved)).await?;
        slow::commit(transaction).await?;
        Ok(batch)
    }

    /// Rows that are sealed under another key than this one.
    ///
    /// # Errors
    /// The database failed.
    pub async fn sealed_elsewhere(&self, target: Uuid) -> Result<u64, StoreError> {
        let target = target.to_string();
        let connection = &self.connection;
        let versions = key_version::Entity::find().filter(other_versions(&target)).count(connection).await?;
        let tokens = refresh_token::Entity::find().filter(other_tokens(&target)).count(connection).await?;
        let answers = idempotency::Column::DekId.ne(target);
        Ok(versions + tokens + idempotency::Entity::find().filter(answers).count(connection).await?)
    }
}

fn other_versions(target: &str) -> Condition {
    // What was erased is sealed under nothing.
    Condition::all().add(key_version::Column::DekId.ne(target)).add(key_version::Column::Sealed.is_not_null())
}

fn other_tokens(target: &str) -> Condition {
    Condition::any()
        .add(refresh_token::Column::DekId.ne(target))
        .add(refresh_token::Column::AnswerDekId.ne(target))
}

impl Move<'_> {
    async fn rows<E: EntityTrait>(&self, select: Select<E>) -> Result<Vec<QueryResult>, StoreError> {
        use sea_orm::ConnectionTrait as _;
        let select = select.limit(self.limit).lock_with_behavior(LockType::Update, LockBehavior::SkipLocked);
        Ok(self.transaction.query_all_raw(select.build(self.transaction.get_database_backend())).await?)
    }

    /// Where the next batch begins. A full batch of which no row says where it is ends the round; the next one begins anew.
    fn next(&self, rows: &[QueryResult], cursor: impl Fn(&QueryResult) -> Option<Cursor>) -> Option<Cursor> {
        let is_full = u64::try_from(rows.len()).unwrap_or(u64::MAX) >= self.limit;
        if is_full { rows.iter().rev().find_map(cursor) } else { None }
    }

    async fn versions(&self) -> Result<Resealed, StoreError> {
        use key_version::Column;
        let after = Condition::any().add(Column::KeyId.gt(self.from.id.as_str())).add(
            Condition::all()
                .add(Column::KeyId.eq(self.from.id.as_str()))
                .add(Column::Version.gt(self.from.version)),
        );
        let select = key_version::Entity::find().filter(other_versions(&self.target)).filter(after);
        let found = self.rows(select.order_by_asc(Column::KeyId).order_by_asc(Column::Version)).await?;
        let cursor = |row: &QueryResult| {
            let (id, version) = (row.try_get("", "key_id").ok()?, row.try_get("", "version").ok()?);
            Some(Cursor { id, version, ..Cursor::default() })
        };
        let types = self.key_types(&found).await?;
        let mut batch = Resealed { next: self.next(&found, cursor), ..Resealed::default() };
        for row in &found {
            match self.version(row, &types) {
                Some(row) => batch.moved += self.write_version(row).await?,
                None => batch.failed += 1,
            }
        }
        Ok(batch)
    }

    async fn key_types(&self, versions: &[QueryResult]) -> Result<HashMap<String, KeyType>, StoreError> {
        let mut ids: Vec<String> = versions.iter().filter_map(|row| row.try_get("", "key_id").ok()).collect();
        ids.dedup();
        let types: Vec<(String, String)> = key::Entity::find()
            .select_only()
            .columns([key::Column::Id, key::Column::KeyType])
            .filter(key::Column::Id.is_in(ids))
            .into_tuple()
            .all(self.transaction)
            .await?;
        Ok(types.into_iter().filter_map(|(id, name)| Some((id, name.parse().ok()?))).collect())
    }

    /// The row as it will be, with the MAC that it has.
    fn version(
        &self,
        row: &QueryResult,
        types: &HashMap<String, KeyType>,
    ) -> Option<(key_version::Model, Vec<u8>)> {
        let mut row =
            load::authentic::<key_version::Model>(self.keychain, "key_versions", row, |row| &row.mac).ok()?;
        let number = VersionNumber::new(u32::try_from(row.version).ok()?).ok()?;
        let key_type = *types.get(&row.key_id)?;
        let binding =
            Binding::material(self.keychain.deployment(), row.key_id.parse().ok()?, number, key_type);
        (row.dek_id, row.sealed) = {
            let (dek, sealed) = self.anew(&row.dek_id, &binding, row.sealed.as_deref()?)?;
            (dek, Some(sealed))
        };
        let mac = mac_of_row(self.keychain, "key_versions", &row).to_vec();
        let before = std::mem::replace(&mut row.mac, mac);
        Some((row, before))
    }

    async fn write_version(&self, (row, before): (key_version::Model, Vec<u8>)) -> Result<u64, StoreError> {
        use key_version::Column;
        let written = key_version::Entity::update_many()
            .col_expr(Column::Sealed, Expr::value(row.sealed))
            .col_expr(Column::DekId, Expr::value(row.dek_id))
            .col_expr(Column::Mac, Expr::value(row.mac))
            .filter(Column::KeyId.eq(row.key_id))
            .filter(Column::Version.eq(row.version))
            .filter(Column::Mac.eq(before))
            .exec(self.transaction)
            .await?;
        Ok(written.rows_affected)
    }

    async fn refresh_tokens(&self) -> Result<Resealed, StoreError> {
        use refresh_token::Column;
        let select = refresh_token::Entity::find().filter(other_tokens(&self.target));
        let select = select.filter(Column::Id.gt(self.from.id.as_str())).order_by_asc(Column::Id);
        let found = self.rows(select).await?;
        let cursor =
            |row: &QueryResult| Some(Cursor { id: row.try_get("", "id").ok()?, ..Cursor::default() });
        let mut batch = Resealed { next: self.next(&found, cursor), ..Resealed::default() };
        for row in &found {
            match self.refresh_token(row) {
                Some(row) => batch.moved += self.write_refresh_token(row).await?,
                None => batch.failed += 1,
            }
        }
        Ok(batch)
    }

    fn refresh_token(&self, row: &QueryResult) -> Option<(refresh_token::Model, Vec<u8>)> {
        let table = "refresh_tokens";
        let mut row =
            load::authentic::<refresh_token::Model>(self.keychain, table, row, |row| &row.mac).ok()?;
        let (deployment, id) = (self.keychain.deployment(), row.id.parse().ok()?);
        (row.dek_id, row.sealed) = self.anew(&row.dek_id, &Binding::grant(deployment, id), &row.sealed)?;
        if let (Some(dek), Some(answer)) = (&row.answer_dek_id, &row.answer) {
            let (dek, answer) = self.anew(dek, &Binding::pair(deployment, id), answer)?;
            (row.answer_dek_id, row.answer) = (Some(dek), Some(answer));
        }
        let mac = mac_of_row(self.keychain, table, &row).to_vec();
        let before = std::mem::replace(&mut row.mac, mac);
        Some((row, before))
    }

    async fn write_refresh_token(
        &self,
        (row, before): (refresh_token::Model, Vec<u8>),
    ) -> Result<u64, StoreError> {
        use refresh_token::Column;
        let written = refresh_token::Entity::update_many()
            .col_expr(Column::Sealed, Expr::value(row.sealed))
            .col_expr(Column::DekId, Expr::value(row.dek_id))
            .col_expr(Column::Answer, Expr::value(row.answer))
            .col_expr(Column::AnswerDekId, Expr::value(row.answer_dek_id))
            .col_expr(Column::Mac, Expr::value(row.mac))
            .filter(Column::Id.eq(row.id))
            .filter(Column::Mac.eq(before))
            .exec(self.transaction)
            .await?;
        Ok(written.rows_affected)
    }

    async fn answers(&self) -> Result<Resealed, StoreError> {
        use idempotency::Column;
        let (scope, second) = (self.from.id.as_str(), self.from.second.as_str());
        let after = Condition::any()
            .add(Column::Scope.gt(scope))
            .add(Condition::all().add(Column::Scope.eq(scope)).add(Column::IdemKey.gt(second)));
        let select = idempotency::Entity::find().filter(Column::DekId.ne(self.target.as_str())).filter(after);
        let found = self.rows(select.order_by_asc(Column::Scope).order_by_asc(Column::IdemKey)).await?;
        let cursor = |row: &QueryResult| {
            let (id, second) = (row.try_get("", "scope").ok()?, row.try_get("", "idem_key").ok()?);
            Some(Cursor { id, second, ..Cursor::default() })
        };
        let mut batch = Resealed { next: self.next(&found, cursor), ..Resealed::default() };
        for row in &found {
            let Some((row, dek, response)) = self.answer(row) else {
                batch.failed += 1;
                continue;
            };
            let written = idempotency::Entity::update_many()
                .col_expr(Column::DekId, Expr::value(dek))
                .col_expr(Column::Response, Expr::value(response))
                .filter(Column::Scope.eq(row.scope))
                .filter(Column::IdemKey.eq(row.idem_key))
                .filter(Column::Response.eq(row.response))
                .exec(self.transaction)
                .await?;
            batch.moved += written.rows_affected;
        }
        Ok(batch)
    }

    fn answer(&self, row: &QueryResult) -> Option<(idempotency::Model, String, Vec<u8>)> {
        let row = idempotency::Model::from_query_result(row, "").ok()?;
        let binding = Binding::answer(self.keychain.deployment(), &row.scope, &row.idem_key);
        let (dek, response) = self.anew(&row.dek_id, &binding, &row.response)?;
        Some((row, dek, response))
    }

    /// Sealed under the present key; as it is, if it was.
    fn anew(&self, dek: &str, binding: &Binding, sealed: &[u8]) -> Option<(String, Vec<u8>)> {
        let anew = self.keychain.reseal(dek.parse().ok()?, binding, sealed).ok()?;
        Some(
            anew.map_or_else(|| (dek.to_owned(), sealed.to_vec()), |(dek, sealed)| (dek.to_string(), sealed)),
        )
    }
}
