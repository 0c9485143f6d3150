//! Incidents, what came of their steps, and what the nodes' logs say.

use std::time::Duration;

use chrono::DateTime;
use claviger_entity::tables::{
    incident::{self, Column},
    incident_step, incident_use, refresh_token,
};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _, FromQueryResult as _,
    IntoActiveModel as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _, QueryResult,
    QuerySelect as _, QueryTrait as _, Statement, TransactionTrait as _,
    sea_query::{Expr, OnConflict},
};
use uuid::Uuid;

use super::{Database, EventRow, StoreError, audit, nodes::SERVER_CLOCK, rows, slow};
use crate::{
    incidents::{
        Incident, IncidentRecord, Level, Standing, StepRecord, UseRecord,
        core::{Ended, State},
    },
    keyring::record::Time,
    seal::{Keychain, SealError, mac_of_row},
};

const TABLE: &str = "incidents";
const STEPS: &str = "incident_steps";
const USES: &str = "incident_uses";

/// What happens to an incident's row.
#[derive(Debug, Clone)]
pub struct IncidentWrite {
    /// The row as it will be.
    pub record: IncidentRecord,
    /// The row does not exist yet.
    pub is_new: bool,
    /// Steps that have failed are to be done again, and with them those at these places.
    pub repeats: Option<Vec<usize>>,
}

/// Writes the row of an incident; who runs it is left alone.
pub(super) async fn write(
    connection: &impl ConnectionTrait,
    keychain: &Keychain,
    write: &IncidentWrite,
) -> Result<(), StoreError> {
    let row = row_of(keychain, &write.record)?;
    if write.is_new {
        incident::Entity::insert(row.into_active_model()).exec_without_returning(connection).await?;
        return Ok(());
    }
    let id = row.id.clone();
    let updated = incident::Entity::update_many()
        .col_expr(Column::State, Expr::value(row.state))
        .col_expr(Column::ApprovedBy, Expr::value(row.approved_by))
        .col_expr(Column::ApprovedAt, Expr::value(row.approved_at))
        .col_expr(Column::FinishedAt, Expr::value(row.finished_at))
        .col_expr(Column::ClosedAt, Expr::value(row.closed_at))
        .col_expr(Column::Mac, Expr::value(row.mac))
        .filter(Column::Id.eq(id.as_str()))
        .exec(connection)
        .await?;
    if updated.rows_affected != 1 {
        return Err(StoreError::Conflict);
    }
    if let Some(places) = &write.repeats {
        let places = places.iter().filter_map(|place| i64::try_from(*place).ok());
        let again = Condition::any()
            .add(incident_step::Column::State.eq(Ended::Failed.as_str()))
            .add(incident_step::Column::Ordinal.is_in(places));
        incident_step::Entity::delete_many()
            .filter(incident_step::Column::IncidentId.eq(id))
            .filter(again)
            .exec(connection)
            .await?;
    }
    Ok(())
}

/// Adds what came of a step. If there is something already, whoever adds it has been overtaken, and nothing of theirs may count.
pub(super) async fn add_step(
    connection: &impl ConnectionTrait,
    keychain: &Keychain,
    step: &StepRecord,
) -> Result<(), StoreError> {
    let row = step_row(keychain, step)?.into_active_model();
    incident_step::Entity::insert(row).exec_without_returning(connection).await?;
    Ok(())
}

/// Incidents that every node has to know of, and the ids of rows that were edited.
pub(super) async fn standing(
    connection: &impl ConnectionTrait,
    keychain: &Keychain,
) -> Result<(Standing, Vec<String>), StoreError> {
    let lasting = Condition::all().add(Column::State.eq(State::Done.as_str())).add(Column::Bars.ne("[]"));
    let open = [State::Waiting, State::Watching, State::Running, State::Failed].map(State::as_str);
    let query = incident::Entity::find()
        .filter(Condition::any().add(Column::State.is_in(open)).add(lasting))
        .build(connection.get_database_backend());
    let (mut records, mut damaged) = (Vec::new(), Vec::new());
    for row in connection.query_all_raw(query).await? {
        match record_of(keychain, &row) {
            Some(record) => records.push(record),
            None => damaged.push(row.try_get::<String>("", "id").unwrap_or_default()),
        }
    }
    Ok((Standing::new(records), damaged))
}

impl Database {
    /// An incident with all that is known of it.
    ///
    /// # Errors
    /// The database failed, or its row was edited.
    pub(crate) async fn incident(
        &self,
        keychain: &Keychain,
        id: Uuid,
    ) -> Result<Option<Incident>, StoreError> {
        let transaction = self.reading().await?;
        let query = incident::Entity::find_by_id(id.to_string());
        let row = transaction.query_one_raw(query.build(transaction.get_database_backend())).await?;
        let Some(row) = row else { return Ok(None) };
        let record = record_of(keychain, &row).ok_or(StoreError::Seal(SealError::Damaged))?;
        let found = whole(&transaction, keychain, record).await?;
        transaction.rollback().await?;
        Ok(Some(found))
    }

    /// Incidents that were opened before one, newest first; rows that were edited are left out, and named in the log.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn incidents(
        &self,
        keychain: &Keychain,
        before: Option<Uuid>,
        limit: u64,
    ) -> Result<Vec<Incident>, StoreError> {
        let transaction = self.reading().await?;
        let mut query = incident::Entity::find().order_by_desc(Column::Id).limit(limit);
        if let Some(before) = before {
            query = query.filter(Column::Id.lt(before.to_string()));
        }
        let mut incidents = Vec::new();
        for row in transaction.query_all_raw(query.build(transaction.get_database_backend())).await? {
            match record_of(keychain, &row) {
                Some(record) => incidents.push(whole(&transaction, keychain, record).await?),
                None => tracing::error!("the row of an incident was changed outside the service"),
            }
        }
        transaction.rollback().await?;
        Ok(incidents)
    }

    /// Keeps what came of a step, with its record. Whoever comes second changes nothing.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn record_step(
        &self,
        keychain: &Keychain,
        step: &StepRecord,
        audit: String,
    ) -> Result<(), StoreError> {
        let transaction = self.connection.begin_with_options(Self::writing()).await?;
        let there = OnConflict::new().do_nothing().to_owned();
        let row = step_row(keychain, step)?.into_active_model();
        let inserted = incident_step::Entity::insert(row).on_conflict(there);
        match inserted.exec_without_returning(&transaction).await {
            Ok(1) => {}
            Ok(_) | Err(sea_orm::DbErr::RecordNotInserted) => return Ok(transaction.rollback().await?),
            Err(error) => return Err(error.into()),
        }
        let event = EventRow::read(audit);
        audit::insert(&transaction, event.as_slice()).await?;
        slow::commit(transaction).await?;
        Ok(())
    }

    /// Takes or renews the lease of an incident that runs, for so long; `false` when somebody else has it.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn lease_incident(
        &self,
        id: Uuid,
        holder: &str,
        time: Duration,
        now: Time,
    ) -> Result<bool, StoreError> {
        let clock =
            if self.is_shared() { SERVER_CLOCK.to_owned() } else { now.timestamp_millis().to_string() };
        let time = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        // What lies further ahead than anybody would have written was written by another clock.
        let sql = format!(
            "UPDATE incidents SET fence = CASE WHEN holder = $1 THEN fence ELSE fence + 1 END, holder = $1, held_until = {clock} + {time} \
             WHERE id = $2 AND state = 'running' AND (holder = $1 OR held_until <= {clock} OR held_until > {clock} + {FURTHEST})"
        );
        let backend = self.connection.get_database_backend();
        let statement = Statement::from_sql_and_values(backend, sql, [holder.into(), id.to_string().into()]);
        Ok(self.connection.execute_raw(statement).await?.rows_affected() == 1)
    }

    /// Keeps what the log of a node says, in place of what it said before.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn leave_uses(&self, keychain: &Keychain, record: &UseRecord) -> Result<(), StoreError> {
        let mut row = incident_use::Model {
            incident_id: record.incident.to_string(),
            node: record.node.clone(),
            uses: serde_json::to_string(&record.uses)?,
            at: rows::millis(record.at),
            mac: Vec::new(),
        };
        row.mac = mac_of_row(keychain, USES, &row).to_vec();
        let there = OnConflict::columns([incident_use::Column::IncidentId, incident_use::Column::Node])
            .update_columns([incident_use::Column::Uses, incident_use::Column::At, incident_use::Column::Mac])
            .to_owned();
        let insert = incident_use::Entity::insert(row.into_active_model()).on_conflict(there);
        insert.exec_without_returning(&self.connection).await?;
        Ok(())
    }

    /// Refresh tokens of these keys that could still be used.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn live_refresh(&self, keys: &[Uuid], now: Time) -> Result<u64, StoreError> {
        let keys = keys.iter().map(Uuid::to_string);
        let live = refresh_token::Entity::find()
            .filter(refresh_token::Column::KeyId.is_in(keys))
            .filter(refresh_token::Column::SpentAt.is_null())
            .filter(refresh_token::Column::ExpiresAt.gt(rows::millis(now)));
        Ok(live.count(&self.connection).await?)
    }
}

/// The longest lease that anybody writes, with time to spare, in milliseconds.
const FURTHEST: i64 = 60_000;

async fn whole(
    connection: &impl ConnectionTrait,
    keychain: &Keychain,
    record: IncidentRecord,
) -> Result<Incident, StoreError> {
    let backend = connection.get_database_backend();
    let id = record.id.to_string();
    let query = incident_step::Entity::find()
        .filter(incident_step::Column::IncidentId.eq(id.as_str()))
        .order_by_asc(incident_step::Column::Ordinal)
        .build(backend);
    let found = connection.query_all_raw(query).await?;
    // A step whose row was edited counts as not done: it is done again, or shown as missing.
    let steps = found.iter().filter_map(|row| step_of(keychain, row)).collect();
    let query = incident_use::Entity::find()
        .filter(incident_use::Column::IncidentId.eq(id.as_str()))
        .order_by_asc(incident_use::Column::Node)
        .build(backend);
    let found = connection.query_all_raw(query).await?;
    let uses = found.iter().filter_map(|row| uses_of(keychain, row)).collect();
    Ok(Incident { record, steps, uses })
}

fn row_of(keychain: &Keychain, record: &IncidentRecord) -> Result<incident::Model, StoreError> {
    let mut row = incident::Model {
        id: record.id.to_string(),
        target: serde_json::to_string(&record.target)?,
        level: record.level.as_str().to_owned(),
        state: record.state.as_str().to_owned(),
        reason: record.reason.clone(),
        since: rows::millis(record.since),
        plan: serde_json::to_string(&record.plan)?,
        bars: serde_json::to_string(&record.bars)?,
        opened_by: record.opened_by.clone(),
        opened_at: rows::millis(record.opened_at),
        approved_by: record.approved_by.clone(),
        approved_at: record.approved_at.map(rows::millis),
        finished_at: record.finished_at.map(rows::millis),
        closed_at: record.closed_at.map(rows::millis),
        mac: Vec::new(),
        fence: 0,
        holder: String::new(),
        held_until: 0,
    };
    row.mac = mac_of_row(keychain, TABLE, &row).to_vec();
    Ok(row)
}

fn record_of(keychain: &Keychain, row: &QueryResult) -> Option<IncidentRecord> {
    let row = incident::Model::from_query_result(row, "").ok()?;
    let mac = mac_of_row(keychain, TABLE, &row);
    if !claviger_crypto::digest::ct_eq(&mac, &row.mac) {
        return None;
    }
    let time = |millis: i64| DateTime::from_timestamp_millis(millis);
    Some(IncidentRecord {
        id: row.id.parse().ok()?,
        target: serde_json::from_str(&row.target).ok()?,
        level: Level::from_row(&row.level)?,
        state: State::from_row(&row.state)?,
        reason: row.reason,
        since: time(row.since)?,
        plan: serde_json::from_str(&row.plan).ok()?,
        bars: serde_json::from_str(&row.bars).ok()?,
        opened_by: row.opened_by,
        opened_at: time(row.opened_at)?,
        approved_by: row.approved_by,
        approved_at: row.approved_at.and_then(time),
        finished_at: row.finished_at.and_then(time),
        closed_at: row.closed_at.and_then(time),
    })
}

fn step_row(keychain: &Keychain, step: &StepRecord) -> Result<incident_step::Model, StoreError> {
    let mut row = incident_step::Model {
        incident_id: step.incident.to_string(),
        ordinal: i64::try_from(step.place).unwrap_or(i64::MAX),
        state: step.ended.as_str().to_owned(),
        outcome: serde_json::to_string(&step.outcome)?,
        node: step.node.clone(),
        at: rows::millis(step.at),
        mac: Vec::new(),
    };
    row.mac = mac_of_row(keychain, STEPS, &row).to_vec();
    Ok(row)
}

fn step_of(keychain: &Keychain, row: &QueryResult) -> Option<StepRecord> {
    let row = super::load::authentic::<incident_step::Model>(keychain, STEPS, row, |row| &row.mac).ok()?;
    Some(StepRecord {
        incident: row.incident_id.parse().ok()?,
        place: usize::try_from(row.ordinal).ok()?,
        ended: Ended::from_row(&row.state)?,
        outcome: serde_json::from_str(&row.outcome).ok()?,
        node: row.node,
        at: DateTime::from_timestamp_millis(row.at)?,
    })
}

fn uses_of(keychain: &Keychain, row: &QueryResult) -> Option<UseRecord> {
    let row = super::load::authentic::<incident_use::Model>(keychain, USES, row, |row| &row.mac).ok()?;
    Some(UseRecord {
        incident: row.incident_id.parse().ok()?,
        node: row.node,
        uses: serde_json::from_str(&row.uses).ok()?,
        at: DateTime::from_timestamp_millis(row.at)?,
    })
}
