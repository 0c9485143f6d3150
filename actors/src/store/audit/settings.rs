//! What a node was started with before, kept where whoever can only change its configuration can't put it right.

use std::collections::BTreeMap;

use claviger_entity::tables::node_settings::{self, Column};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait as _, EntityTrait as _, IntoActiveModel as _,
    QueryFilter as _, QueryOrder as _, QueryTrait as _, TransactionTrait as _, sea_query::OnConflict,
};
use uuid::Uuid;

use super::{
    super::{Database, StoreError, load, rows},
    EventRow, insert,
};
use crate::{
    keyring::record::Time,
    seal::{Keychain, mac_of_row},
};

const TABLE: &str = "node_settings";

/// Settings by name, as texts; no secrets.
pub type NodeSettings = BTreeMap<String, String>;

/// What is known of the start before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Before {
    /// There was none.
    Nothing,
    /// What it was started with.
    Settings(NodeSettings),
    /// The row was edited from outside.
    Damaged,
}

/// A node at its start.
#[derive(Debug, Clone, Copy)]
pub struct Starting<'a> {
    /// Its name.
    pub node: &'a str,
    /// The chain that its audit log goes on with, if there is one.
    pub chain: Option<Uuid>,
    /// What it is started with.
    pub settings: &'a NodeSettings,
    /// When.
    pub at: Time,
}

impl Database {
    /// What a node was last started with. It is known by its audit log first, since a name may be another one each time.
    ///
    /// # Errors
    /// The database failed.
    pub async fn settings_before(
        &self,
        keychain: &Keychain,
        chain: Option<Uuid>,
        node: &str,
    ) -> Result<Before, StoreError> {
        let mut which = vec![Column::Node.eq(node)];
        which.extend(chain.map(|chain| Column::Chain.eq(chain.to_string())));
        for column in which.into_iter().rev() {
            let query = node_settings::Entity::find().filter(column).order_by_desc(Column::StartedAt);
            let query = query.build(self.connection.get_database_backend());
            let Some(row) = self.connection.query_one_raw(query).await? else { continue };
            let sound = load::authentic::<node_settings::Model>(keychain, TABLE, &row, |row| &row.mac);
            let settings = sound.ok().and_then(|row| serde_json::from_str(&row.settings).ok());
            return Ok(settings.map_or(Before::Damaged, Before::Settings));
        }
        Ok(Before::Nothing)
    }

    /// Keeps what a node is started with, together with the events of its start: what was compared is replaced only when the outcome is kept.
    ///
    /// # Errors
    /// The database failed; nothing is kept.
    pub async fn keep_settings(
        &self,
        keychain: &Keychain,
        starting: Starting<'_>,
        events: &[EventRow],
    ) -> Result<(), StoreError> {
        let mut row = node_settings::Model {
            node: starting.node.to_owned(),
            chain: starting.chain.map(|chain| chain.to_string()),
            settings: serde_json::to_string(starting.settings)?,
            started_at: rows::millis(starting.at),
            mac: Vec::new(),
        };
        row.mac = mac_of_row(keychain, TABLE, &row).to_vec();
        // Names that are another one each time must not pile up.
        let mut former = Condition::any().add(Column::Node.eq(starting.node));
        if let Some(chain) = &row.chain {
            former = former.add(Column::Chain.eq(chain));
        }
        let transaction = self.connection.begin_with_options(Self::writing()).await?;
        node_settings::Entity::delete_many().filter(former).exec(&transaction).await?;
        // Another node of this name may start at the same time.
        let columns = [Column::Chain, Column::Settings, Column::StartedAt, Column::Mac];
        let there = OnConflict::column(Column::Node).update_columns(columns).to_owned();
        node_settings::Entity::insert(row.into_active_model())
            .on_conflict(there)
            .exec_without_returning(&transaction)
            .await?;
        insert(&transaction, events).await?;
        transaction.commit().await?;
        Ok(())
    }
}
