//! The last checkpoint of each node's log, kept where whoever can touch the files of the log can't.

use chrono::DateTime;
use claviger_entity::tables::audit_chain::{self, Column};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, ConnectionTrait, EntityTrait as _, IntoActiveModel as _,
    QueryFilter as _, QueryOrder as _, QueryResult, QueryTrait as _, TransactionTrait as _,
};
use uuid::Uuid;

use super::super::{Database, StoreError, load, rows};
use crate::{
    audit::about::Anchor,
    keyring::record::Time,
    seal::{Keychain, mac_of_row},
};

const TABLE: &str = "audit_chains";

/// A checkpoint with the node that has written it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeAnchor {
    /// The node.
    pub node: String,
    /// When the first checkpoint of its chain came.
    pub started_at: Time,
    /// The checkpoint.
    pub anchor: Anchor,
}

impl Database {
    /// The last checkpoint of a chain that is known here. A row that was edited is named in the log and counts for nothing.
    ///
    /// # Errors
    /// The database failed.
    pub async fn anchor(&self, keychain: &Keychain, chain: Uuid) -> Result<Option<Anchor>, StoreError> {
        Ok(find(&self.connection, keychain, chain).await?.flatten().map(|found| found.anchor))
    }

    /// The last checkpoints of all chains, by node and beginning; edited rows as in [`Self::anchor`].
    ///
    /// # Errors
    /// The database failed.
    pub async fn audit_anchors(&self, keychain: &Keychain) -> Result<Vec<NodeAnchor>, StoreError> {
        let query = audit_chain::Entity::find().order_by_asc(Column::Node).order_by_asc(Column::StartedAt);
        let query = query.build(self.connection.get_database_backend());
        let found = self.connection.query_all_raw(query).await?;
        Ok(found.iter().filter_map(|row| read(keychain, row)).collect())
    }

    /// Keeps a checkpoint, unless a later one of its chain is known.
    ///
    /// # Errors
    /// The database failed.
    pub async fn put_anchor(
        &self,
        keychain: &Keychain,
        node: &str,
        anchor: &Anchor,
    ) -> Result<(), StoreError> {
        let transaction = self.connection.begin_with_options(Self::writing()).await?;
        let found = find(&transaction, keychain, anchor.chain).await?;
        let started_at = match &found {
            Some(Some(known)) if known.anchor.seq >= anchor.seq => return Ok(transaction.rollback().await?),
            Some(Some(known)) => known.started_at,
            Some(None) | None => anchor.at,
        };
        let mut row = audit_chain::Model {
            chain: anchor.chain.to_string(),
            node: node.to_owned(),
            started_at: rows::millis(started_at),
            anchor_seq: number(anchor.seq),
            anchor_segment: number(anchor.segment),
            anchor_at: rows::millis(anchor.at),
            anchor_line: anchor.line.clone(),
            mac: Vec::new(),
        };
        row.mac = mac_of_row(keychain, TABLE, &row).to_vec();
        let row = row.into_active_model();
        match found {
            Some(_) => drop(row.reset_all().update(&transaction).await?),
            None => {
                audit_chain::Entity::insert(row).exec_without_returning(&transaction).await?;
            }
        }
        transaction.commit().await?;
        Ok(())
    }
}

/// The outer `None`: there is no row; the inner one: it was edited.
async fn find(
    connection: &impl ConnectionTrait,
    keychain: &Keychain,
    chain: Uuid,
) -> Result<Option<Option<NodeAnchor>>, StoreError> {
    let query = audit_chain::Entity::find().filter(Column::Chain.eq(chain.to_string()));
    let found = connection.query_one_raw(query.build(connection.get_database_backend())).await?;
    Ok(found.map(|row| read(keychain, &row)))
}

fn read(keychain: &Keychain, row: &QueryResult) -> Option<NodeAnchor> {
    let sound = load::authentic::<audit_chain::Model>(keychain, TABLE, row, |row| &row.mac);
    let sound = sound.and_then(|row| of_row(row).ok_or(rows::UNREADABLE));
    sound
        .inspect_err(|finding| {
            let [chain, node] = ["chain", "node"].map(|name| row.try_get::<String>("", name).ok());
            tracing::error!(chain, node, finding, "a checkpoint of the audit log in the database is void");
        })
        .ok()
}

fn of_row(row: audit_chain::Model) -> Option<NodeAnchor> {
    let anchor = Anchor::read(&row.anchor_line)?;
    let fits = anchor.chain.to_string() == row.chain && number(anchor.seq) == row.anchor_seq;
    let started_at = DateTime::from_timestamp_millis(row.started_at)?;
    fits.then_some(NodeAnchor { node: row.node, started_at, anchor })
}

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
