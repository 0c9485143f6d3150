//! Nodes that serve the deployment, and the database's own view: where the ring stands and what time it is.

use claviger_entity::tables::{change, node, ring_meta};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, DbBackend, EntityTrait as _, IntoActiveModel as _,
    QueryFilter as _, QueryOrder as _, Statement, sea_query::Expr,
};

use super::{Database, StoreError, meta, rows};
use crate::{
    keyring::{Epoch, Position},
    seal::Keychain,
};

/// Rows of nodes that were seen last so long ago are removed.
const FORGOTTEN_MS: i64 = 24 * 3_600 * 1_000;
/// PostgreSQL's clock at this very statement, not at the start of its transaction.
const SERVER_CLOCK: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now";
const STANDBY: &str = "SELECT pg_is_in_recovery() AS standby";

/// A node's row.
pub type NodeRow = node::Model;

impl Database {
    /// Several nodes may share it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.connection.get_database_backend() != DbBackend::Sqlite
    }

    /// Asks where the ring stands.
    ///
    /// # Errors
    /// The database failed, or is a standby, which may lag behind its primary.
    pub async fn look(&self, keychain: &Keychain) -> Result<Position, StoreError> {
        let transaction = self.reading().await?;
        if self.is_shared() {
            let statement = Statement::from_string(DbBackend::Postgres, STANDBY);
            let row = transaction.query_one_raw(statement).await?.ok_or(StoreError::MetaDamaged)?;
            if row.try_get("", "standby")? {
                return Err(StoreError::Standby);
            }
        }
        let meta = ring_meta::Entity::find_by_id(1).one(&transaction).await?;
        let position = meta::position(keychain, &meta.ok_or(StoreError::MetaDamaged)?)?;
        transaction.rollback().await?;
        Ok(position)
    }

    /// The database's clock, in milliseconds; a file has none.
    pub(crate) async fn server_clock(&self) -> Result<Option<i64>, StoreError> {
        if !self.is_shared() {
            return Ok(None);
        }
        let statement = Statement::from_string(DbBackend::Postgres, SERVER_CLOCK);
        let row = self.connection.query_one_raw(statement).await?.ok_or(StoreError::MetaDamaged)?;
        Ok(Some(row.try_get("", "now")?))
    }

    /// Enters a node, before it reads the ring: whoever makes a change from then on waits for it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn enter(&self, row: &NodeRow) -> Result<(), StoreError> {
        node::Entity::delete_many()
            .filter(node::Column::SeenAt.lt(row.seen_at - FORGOTTEN_MS))
            .exec(&self.connection)
            .await?;
        node::Entity::insert(row.clone().into_active_model())
            .exec_without_returning(&self.connection)
            .await?;
        Ok(())
    }

    /// Renews a node's row; `false` when there is none any more.
    ///
    /// # Errors
    /// The database failed.
    pub async fn renew(
        &self,
        boot_id: &str,
        seen_at: i64,
        applied: Epoch,
        draining: bool,
    ) -> Result<bool, StoreError> {
        let renewed = node::Entity::update_many()
            .col_expr(node::Column::SeenAt, Expr::value(seen_at))
            .col_expr(node::Column::AppliedEpoch, Expr::value(rows::epoch(applied)))
            .col_expr(node::Column::Draining, Expr::value(draining))
            .filter(node::Column::BootId.eq(boot_id))
            .exec(&self.connection)
            .await?;
        Ok(renewed.rows_affected == 1)
    }

    /// Takes a node out, once it serves nobody any more.
    ///
    /// # Errors
    /// The database failed.
    pub async fn leave(&self, boot_id: &str) -> Result<(), StoreError> {
        node::Entity::delete_by_id(boot_id).exec(&self.connection).await?;
        Ok(())
    }

    /// When a change was made, in milliseconds.
    ///
    /// # Errors
    /// The database failed.
    pub async fn changed_at(&self, epoch: Epoch) -> Result<Option<i64>, StoreError> {
        let line = change::Entity::find_by_id((rows::epoch(epoch), 0)).one(&self.connection).await?;
        Ok(line.map(|line| line.at))
    }

    /// Every node that has entered and not left.
    ///
    /// # Errors
    /// The database failed.
    pub async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        let ordered = node::Entity::find().order_by_asc(node::Column::Name);
        Ok(ordered.order_by_asc(node::Column::BootId).all(&self.connection).await?)
    }
}
