//! Events of all nodes. They are for questions; the proof is in the logs.

use chrono::DateTime;
use claviger_entity::tables::audit_event::{self, Column};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _, IntoActiveModel as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, QueryTrait as _, sea_query::OnConflict,
};
use serde::Deserialize;
use uuid::{Builder, Uuid};

use super::super::{Database, StoreError, rows};
use crate::keyring::record::Time;

/// Rows of one statement.
const BATCH: usize = 200;
/// Rows that one statement deletes.
const FORGET_ROWS: u64 = 1_000;
/// Statements of one round of forgetting.
const FORGET_ROUNDS: u32 = 20;

/// An event as its row holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow(audit_event::Model);

/// Which events; what is left out is no condition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Name of the event.
    pub event: Option<String>,
    /// Name of the key.
    pub key: Option<String>,
    /// Name or id of the principal.
    pub actor: Option<String>,
    /// `ok`, or a problem's code.
    pub outcome: Option<String>,
    /// At this moment or later.
    pub since: Option<Time>,
    /// Before this moment.
    pub until: Option<Time>,
}

/// What columns hold of a record.
#[derive(Deserialize)]
struct Members {
    ts: DateTime<chrono::Utc>,
    event: String,
    operation: Option<String>,
    #[serde(default)]
    actor: String,
    actor_id: Option<String>,
    key: Option<String>,
    #[serde(default)]
    outcome: String,
    request_id: Option<String>,
    #[serde(default)]
    node: String,
    #[serde(default)]
    epoch: u64,
}

impl EventRow {
    /// Reads a record; `None` when it is no JSON object with `ts` and `event`.
    #[must_use]
    pub fn read(record: String) -> Option<Self> {
        let members: Members = serde_json::from_str(&record).ok()?;
        let at = rows::millis(members.ts);
        // Within a millisecond the order is that of the changes.
        let order = (members.epoch & 0xfff).to_be_bytes();
        let mut rest: [u8; 10] = *Uuid::new_v4().as_bytes().first_chunk()?;
        rest.first_chunk_mut::<2>()?.copy_from_slice(order.last_chunk::<2>()?);
        // PostgreSQL takes no zero byte; the record itself has it escaped.
        let clean = |text: String| if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text };
        Some(Self(audit_event::Model {
            id: id(at, &rest).to_string(),
            at,
            node: clean(members.node),
            operation: clean(members.operation.unwrap_or_else(|| members.event.clone())),
            event: clean(members.event),
            actor: clean(members.actor),
            actor_id: members.actor_id.map(clean),
            key_name: members.key.map(clean),
            outcome: clean(members.outcome),
            request_id: members.request_id.map(clean),
            record,
        }))
    }

    /// Its place in the order of events.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// The record, JSON.
    #[must_use]
    pub fn record(&self) -> &str {
        &self.0.record
    }
}

/// An id of an event at a moment.
fn id(millis: i64, rest: &[u8; 10]) -> Uuid {
    Builder::from_unix_timestamp_millis(u64::try_from(millis).unwrap_or(0), rest).into_uuid()
}

impl Database {
    /// Keeps events; those that are kept already are left alone, so that the same may be tried again.
    ///
    /// # Errors
    /// The database failed. Some of them may be kept.
    pub async fn add_events(&self, events: &[EventRow]) -> Result<(), StoreError> {
        for batch in events.chunks(BATCH) {
            insert(&self.connection, batch).await?;
        }
        Ok(())
    }

    /// Events that a filter lets through, before the one that `cursor` names, newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn events(
        &self,
        filter: &EventFilter,
        cursor: Option<Uuid>,
        limit: u64,
    ) -> Result<Vec<EventRow>, StoreError> {
        let query = audit_event::Entity::find()
            .filter(condition(filter, cursor))
            .order_by_desc(Column::Id)
            .limit(limit);
        Ok(query.all(&self.connection).await?.into_iter().map(EventRow).collect())
    }

    /// Removes events from before a moment, a bounded number of them; answers with how many.
    ///
    /// # Errors
    /// The database failed. Some of them may be gone.
    pub async fn forget_events(&self, before: Time) -> Result<u64, StoreError> {
        let mut forgotten = 0;
        for _ in 0..FORGET_ROUNDS {
            let oldest = audit_event::Entity::find()
                .select_only()
                .column(Column::Id)
                .filter(Column::At.lt(rows::millis(before)))
                .order_by_asc(Column::At)
                .limit(FORGET_ROWS);
            let delete =
                audit_event::Entity::delete_many().filter(Column::Id.in_subquery(oldest.into_query()));
            let deleted = delete.exec(&self.connection).await?.rows_affected;
            forgotten += deleted;
            if deleted < FORGET_ROWS {
                break;
            }
        }
        Ok(forgotten)
    }
}

/// Ids carry the time, so that a span of time is one of the primary key.
fn condition(filter: &EventFilter, cursor: Option<Uuid>) -> Condition {
    let first = |at: Time| id(rows::millis(at), &[0; 10]).to_string();
    let actor = filter.actor.as_ref().map(|actor| {
        let by_name = Condition::any().add(Column::Actor.eq(actor));
        // Only what looks like an id is looked for as one: the other has an index.
        let is_id = Uuid::try_parse(actor).is_ok();
        if is_id { by_name.add(Column::ActorId.eq(actor)) } else { by_name }
    });
    Condition::all()
        .add_option(filter.event.as_ref().map(|event| Column::Event.eq(event)))
        .add_option(filter.key.as_ref().map(|key| Column::KeyName.eq(key)))
        .add_option(actor)
        .add_option(filter.outcome.as_ref().map(|outcome| Column::Outcome.eq(outcome)))
        .add_option(filter.since.map(|since| Column::Id.gte(first(since))))
        .add_option(filter.until.map(|until| Column::Id.lt(first(until))))
        .add_option(cursor.map(|cursor| Column::Id.lt(cursor.to_string())))
}

/// Inserts events with one statement.
pub(in crate::store) async fn insert(
    connection: &impl ConnectionTrait,
    events: &[EventRow],
) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let there = OnConflict::column(Column::Id).do_nothing().to_owned();
    audit_event::Entity::insert_many(events.iter().map(|event| event.0.clone().into_active_model()))
        .on_conflict(there)
        .exec_without_returning(connection)
        .await?;
    Ok(())
}
