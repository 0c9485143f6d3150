//! When principals last called. Beside the ring: no epoch moves, nothing is decided by it.

use claviger_entity::tables::principal_use;
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, QueryFilter as _, Set,
    sea_query::{Expr, OnConflict},
};
use uuid::Uuid;

use super::{Database, StoreError, rows};
use crate::keyring::record::Time;

impl Database {
    /// Notes a use; the latest of all nodes' stays.
    ///
    /// # Errors
    /// The database failed.
    pub async fn record_use(&self, principal: Uuid, at: Time) -> Result<(), StoreError> {
        let (id, at) = (principal.to_string(), rows::millis(at));
        let moved = principal_use::Entity::update_many()
            .col_expr(principal_use::Column::LastUsedAt, Expr::value(at))
            .filter(principal_use::Column::PrincipalId.eq(id.as_str()))
            .filter(principal_use::Column::LastUsedAt.lt(at))
            .exec(&self.connection)
            .await?;
        if moved.rows_affected == 0 {
            let row = principal_use::ActiveModel { principal_id: Set(id), last_used_at: Set(at) };
            let there = OnConflict::column(principal_use::Column::PrincipalId).do_nothing().to_owned();
            principal_use::Entity::insert(row)
                .on_conflict(there)
                .exec_without_returning(&self.connection)
                .await?;
        }
        Ok(())
    }
}
