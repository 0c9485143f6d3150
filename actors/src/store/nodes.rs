//! Nodes that serve the deployment, and the database's own view: where the ring stands and what time it is.

use claviger_entity::tables::{change, node, ring_meta};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, DbBackend, EntityTrait as _, FromQueryResult as _,
    IntoActiveModel as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, QueryTrait as _, Statement,
    sea_query::Expr,
};

use super::{Database, StoreError, meta, rows};
use crate::{
    keyring::{Epoch, Position},
    seal::Keychain,
};

/// Rows of nodes that were seen last so long ago are removed.
pub(super) const FORGOTTEN_MS: i64 = 24 * 3_600 * 1_000;
/// PostgreSQL's clock at this very statement, not at the start of its transaction.
pub(super) const SERVER_CLOCK: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
const STANDBY: &str = "pg_is_in_recovery()";
/// The oldest transaction that is open to this very statement, and whether there are revocations since another.
pub(super) const HORIZON: &str = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint";
const REVOKED: &str = "EXISTS (SELECT 1 FROM revocations WHERE xid >= $1)";

/// Revision of the alert that has changed last.
const ALERTS: &str = "(SELECT coalesce(max(revision), 0) FROM alerts)";

/// What a look at the database shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// Where the ring stands.
    pub position: Position,
    /// State of masters and data-encryption keys.
    pub seal_revision: i64,
    /// The database's clock, in milliseconds; a file has none.
    pub now: Option<i64>,
    /// What there is of revocations; a file is written by one process, which knows.
    pub feed: Option<FeedSight>,
    /// Revision of the last change of an alert; zero = there was none.
    pub alerts: i64,
}

/// What a look shows of the feed of revocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedSight {
    /// There are some since the horizon that the look was made from.
    pub has_more: bool,
    /// The oldest transaction that is open; nothing before it will come any more.
    pub horizon: i64,
}

/// A node's row.
pub type NodeRow = node::Model;

impl Database {
    /// Several nodes may share it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.connection.get_database_backend() != DbBackend::Sqlite
    }

    /// Asks where the ring stands, what time it is, and whether tokens were revoked since a horizon: one statement, since every node asks
    /// every second.
    ///
    /// # Errors
    /// The database failed, or is a standby, which may lag behind its primary.
    pub async fn look(&self, keychain: &Keychain, horizon: i64) -> Result<Sight, StoreError> {
        let backend = self.connection.get_database_backend();
        let mut query = ring_meta::Entity::find_by_id(1).expr_as(Expr::cust(ALERTS), "alerts");
        if self.is_shared() {
            query = query
                .expr_as(Expr::cust(SERVER_CLOCK), "now")
                .expr_as(Expr::cust(STANDBY), "standby")
                .expr_as(Expr::cust_with_values(REVOKED, [horizon]), "has_more")
                .expr_as(Expr::cust(HORIZON), "horizon");
        }
        let row =
            self.connection.query_one_raw(query.build(backend)).await?.ok_or(StoreError::MetaDamaged)?;
        let (now, feed) = if self.is_shared() {
            if row.try_get("", "standby")? {
                return Err(StoreError::Standby);
            }
            let feed =
                FeedSight { has_more: row.try_get("", "has_more")?, horizon: row.try_get("", "horizon")? };
            (Some(row.try_get("", "now")?), Some(feed))
        } else {
            (None, None)
        };
        let meta = ring_meta::Model::from_query_result(&row, "")?;
        let seal_revision = meta.seal_revision.unwrap_or(0);
        let alerts = row.try_get("", "alerts")?;
        Ok(Sight { position: meta::position(keychain, &meta)?, seal_revision, now, feed, alerts })
    }

    /// The database's clock, in milliseconds; a file has none.
    pub(crate) async fn server_clock(&self) -> Result<Option<i64>, StoreError> {
        if !self.is_shared() {
            return Ok(None);
        }
        let statement = Statement::from_string(DbBackend::Postgres, format!("SELECT {SERVER_CLOCK} AS now"));
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

    /// Renews a node's row, by the server's clock; `false` when there is none any more.
    ///
    /// # Errors
    /// The database failed.
    pub async fn renew(
        &self,
        boot_id: &str,
        (applied, seal_revision): (Epoch, i64),
        draining: bool,
    ) -> Result<bool, StoreError> {
        let renewed = node::Entity::update_many()
            .col_expr(node::Column::SeenAt, Expr::cust(SERVER_CLOCK))
            .col_expr(node::Column::AppliedEpoch, Expr::value(rows::epoch(applied)))
            .col_expr(node::Column::SealRevision, Expr::value(Some(seal_revision)))
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
