//! Leases of those who ask providers for tokens. Each call is a statement of its own: nobody holds a lock while a provider is asked.

use claviger_entity::tables::refresh_lease::{Column, Entity, Model};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, ConnectionTrait as _, DbErr, EntityTrait as _,
    IntoActiveModel as _, QueryFilter as _, Statement,
    sea_query::{Expr, OnConflict},
};
use uuid::Uuid;

use super::StoresTurn;
use crate::{
    keyring::record::Time,
    store::{Database, StoreError, nodes::SERVER_CLOCK},
    stores::lease::{Lease, LeaseRow},
};

/// How long a lease that nobody has ended is kept, in milliseconds. Its number need not be: numbers go by time.
const KEPT_MS: i64 = 86_400_000;

impl Database {
    /// The row of a lease, if there is one, and the present by the clock that leases go by.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn lease(&self, token: Uuid, now: Time) -> Result<(Option<LeaseRow>, i64), StoreError> {
        let backend = self.connection.get_database_backend();
        let clock =
            if self.is_shared() { SERVER_CLOCK.to_owned() } else { now.timestamp_millis().to_string() };
        let sql = format!(
            "SELECT {clock} AS now, l.fence, l.held_until, l.failures, l.retry_at FROM (SELECT 1 AS one) AS here \
             LEFT JOIN refresh_leases AS l ON l.token_id = $1"
        );
        let statement = Statement::from_sql_and_values(backend, sql, [token.to_string().into()]);
        let row = self.connection.query_one_raw(statement).await?.ok_or(StoreError::Conflict)?;
        let now = row.try_get("", "now")?;
        let Some(fence) = row.try_get::<Option<i64>>("", "fence")? else { return Ok((None, now)) };
        let number = |column: &str| row.try_get::<i64>("", column);
        let (held_until, failures, retry_at) =
            (number("held_until")?, number("failures")?, number("retry_at")?);
        Ok((Some(LeaseRow { fence, held_until, failures, retry_at }), now))
    }

    /// Puts a row in the place of one, or of none; `false` when it is another one by now.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn put_lease(
        &self,
        (token, holder): (Uuid, &str),
        before: Option<&LeaseRow>,
        after: &LeaseRow,
    ) -> Result<bool, StoreError> {
        let Some(before) = before else {
            let LeaseRow { fence, held_until, failures, retry_at } = *after;
            let (token_id, holder) = (token.to_string(), holder.to_owned());
            let row = Model { token_id, fence, holder, held_until, failures, retry_at };
            let there = OnConflict::column(Column::TokenId).do_nothing().to_owned();
            let insert = Entity::insert(row.into_active_model().reset_all()).on_conflict(there);
            return match insert.exec_without_returning(&self.connection).await {
                Ok(rows) => Ok(rows > 0),
                Err(DbErr::RecordNotInserted) => Ok(false),
                Err(error) => Err(error.into()),
            };
        };
        let updated = Entity::update_many()
            .col_expr(Column::Fence, Expr::value(after.fence))
            .col_expr(Column::Holder, Expr::value(holder))
            .col_expr(Column::HeldUntil, Expr::value(after.held_until))
            .col_expr(Column::Failures, Expr::value(after.failures))
            .col_expr(Column::RetryAt, Expr::value(after.retry_at))
            .filter(Column::TokenId.eq(token.to_string()))
            .filter(Column::Fence.eq(before.fence))
            .filter(Column::HeldUntil.eq(before.held_until))
            .filter(Column::Failures.eq(before.failures))
            .exec(&self.connection)
            .await?;
        Ok(updated.rows_affected == 1)
    }

    /// Ends a lease, if it still is the last one.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn end_lease(&self, lease: &Lease) -> Result<(), StoreError> {
        ending(lease).exec(&self.connection).await?;
        Ok(())
    }
}

impl Database {
    /// Removes leases that nobody has ended in a day: of codes whose node has died.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn forget_leases(&self, now: Time) -> Result<(), StoreError> {
        Entity::delete_many()
            .filter(Column::HeldUntil.gt(0))
            .filter(Column::HeldUntil.lt(now.timestamp_millis().saturating_sub(KEPT_MS)))
            .exec(&self.connection)
            .await?;
        Ok(())
    }
}

fn ending(lease: &Lease) -> sea_orm::DeleteMany<Entity> {
    Entity::delete_many()
        .filter(Column::TokenId.eq(lease.token.to_string()))
        .filter(Column::Fence.eq(lease.fence))
}

impl StoresTurn {
    /// Ends the lease under which this change is made; `false` when somebody else has had one since.
    pub(crate) async fn end_lease(&self, lease: &Lease) -> Result<bool, StoreError> {
        Ok(ending(lease).exec(&self.transaction).await?.rows_affected == 1)
    }

    /// Whatever is known of refreshes of tokens that somebody writes or deletes means nothing any more.
    pub(crate) async fn forget_lease(&self, token: Uuid) -> Result<(), StoreError> {
        Entity::delete_by_id(token.to_string()).exec(&self.transaction).await?;
        Ok(())
    }
}
