//! Alerts, and which nodes see what they are about. Beside the ring: no epoch moves, so that no alert holds up a change of keys.
//!
//! Whoever writes takes a lock of the deployment for the transaction: of all nodes that see something one raises it, and revisions come in the
//! order of commits.

use std::{collections::BTreeSet, time::Duration};

use chrono::{DateTime, TimeDelta};
use claviger_entity::tables::{
    alert::{self, Column},
    alert_delivery, alert_sighting,
};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, Condition, ConnectionTrait, DatabaseTransaction,
    EntityTrait as _, IntoActiveModel as _, QueryFilter as _, QueryOrder as _, QueryResult, QuerySelect as _,
    QueryTrait as _, TransactionTrait as _, sea_query::OnConflict,
};
use uuid::Uuid;

use super::{Database, EventRow, StoreError, audit, load, retry, rows, slow};
use crate::{
    alerts::{Acknowledged, AlertRecord, Doer, Kind, Matter, Rule, Scribe, Severity, core::About},
    keyring::record::Time,
    seal::{Keychain, mac_of_row},
};

const TABLE: &str = "alerts";
const DELIVERIES: &str = "alert_deliveries";
/// Told from the locks that others take.
const ALERT_LOCK: i64 = 0x636c_7661_6c65_7274;
/// A node that has not said for so long that it sees something does not see it any more.
const BELIEVED: Duration = Duration::from_secs(45);
/// What was over less long ago is not raised anew: a node that says so may have looked before that, or at a ring that did not know of it yet.
const SETTLED: TimeDelta = TimeDelta::seconds(5);
/// Alerts that were over longer ago are removed.
const KEPT: TimeDelta = TimeDelta::days(90);
/// Alerts that are read at a time.
const STANDING_MAX: u64 = 1_000;

/// Something that a node sees, as the alert that it would be.
#[derive(Debug, Clone)]
pub(crate) struct Sighting {
    pub(crate) alert: AlertRecord,
}

pub(super) type Pen<'a> = (&'a Keychain, &'a Scribe);

impl Database {
    /// A node sees something. Answers with the alert if it is the first one, and none about the same was over just now.
    pub(crate) async fn sight_alert(
        &self,
        pen: Pen<'_>,
        Sighting { alert }: Sighting,
        doer: &Doer,
    ) -> Result<Option<AlertRecord>, StoreError> {
        let (transaction, raised) = retry::retried(|| async {
            let transaction = self.alert_turn().await?;
            sighted(&transaction, &pen.1.node, &alert).await?;
            let open = open(&transaction, Some(&alert.about())).await?;
            for row in &open {
                match record_of(pen.0, row) {
                    Some(_) => return Ok((transaction, false)),
                    None => forget_damaged(&transaction, row).await?,
                }
            }
            if was_over_just_now(&transaction, &alert).await? {
                return Ok((transaction, false));
            }
            let revision = next_revision(&transaction).await?;
            let old = rows::millis(alert.raised_at - KEPT);
            alert::Entity::delete_many().filter(Column::ClearedAt.lt(old)).exec(&transaction).await?;
            alert_delivery::Entity::delete_many()
                .filter(alert_delivery::Column::MadeAt.lt(old))
                .exec(&transaction)
                .await?;
            let row = row_of(pen.0, &alert, revision).into_active_model();
            alert::Entity::insert(row).exec_without_returning(&transaction).await?;
            tell(&transaction, pen, (Kind::Raised, &alert), alert.raised_at).await?;
            on_record(&transaction, pen.1.record("alert.raised", doer, &alert, alert.raised_at)).await?;
            Ok((transaction, true))
        })
        .await?;
        slow::commit(transaction).await?;
        Ok(raised.then_some(alert))
    }

    /// A node does not see these any more, and others it still does, whatever its clock did meanwhile. Whatever nobody sees is over; answers with
    /// what that is.
    pub(crate) async fn settle_alerts(
        &self,
        pen: Pen<'_>,
        (gone, seen_here): (&[About], &[About]),
        doer: &Doer,
        now: Time,
    ) -> Result<Vec<AlertRecord>, StoreError> {
        let (transaction, cleared) = retry::retried(|| async {
            let transaction = self.alert_turn().await?;
            for (rule, subject) in gone {
                let key = (rule.as_str().to_owned(), subject.clone(), pen.1.node.clone());
                alert_sighting::Entity::delete_by_id(key).exec(&transaction).await?;
            }
            let mut seen = believed(&transaction, now).await?;
            seen.extend(seen_here.iter().map(|(rule, subject)| (rule.as_str().to_owned(), subject.clone())));
            let mut cleared = Vec::new();
            for row in open(&transaction, None).await? {
                let Some(alert) = record_of(pen.0, &row) else {
                    forget_damaged(&transaction, &row).await?;
                    continue;
                };
                if seen.contains(&(alert.rule.as_str().to_owned(), alert.subject.clone())) {
                    continue;
                }
                let alert = AlertRecord { cleared_at: Some(now), ..alert };
                write(&transaction, pen.0, &alert).await?;
                tell(&transaction, pen, (Kind::Cleared, &alert), now).await?;
                on_record(&transaction, pen.1.record("alert.cleared", doer, &alert, now)).await?;
                cleared.push(alert);
            }
            Ok((transaction, cleared))
        })
        .await?;
        slow::commit(transaction).await?;
        Ok(cleared)
    }

    /// Somebody takes an alert up; one that was taken up already stays as it is. `None`: there is none.
    pub(crate) async fn acknowledge_alert(
        &self,
        pen: Pen<'_>,
        id: Uuid,
        (doer, comment): (&Doer, Option<String>),
        now: Time,
    ) -> Result<Option<AlertRecord>, StoreError> {
        let (transaction, alert) = retry::retried(|| async {
            let transaction = self.alert_turn().await?;
            let found = find(&transaction, pen.0, id).await?;
            let Some(alert) = found else { return Ok((transaction, None)) };
            if alert.acknowledged.is_some() {
                return Ok((transaction, Some(alert)));
            }
            let acknowledged = Acknowledged { by: doer.actor.clone(), at: now, comment: comment.clone() };
            let alert = AlertRecord { acknowledged: Some(acknowledged), ..alert };
            write(&transaction, pen.0, &alert).await?;
            on_record(&transaction, pen.1.record("alert.ack", doer, &alert, now)).await?;
            Ok((transaction, Some(alert)))
        })
        .await?;
        slow::commit(transaction).await?;
        Ok(alert)
    }

    /// Open alerts, and those that were over since a moment.
    pub(crate) async fn standing_alerts(
        &self,
        keychain: &Keychain,
        since: Time,
    ) -> Result<Vec<AlertRecord>, StoreError> {
        let over = Column::ClearedAt.gt(rows::millis(since));
        let is_recent = Condition::any().add(Column::ClearedAt.is_null()).add(over);
        let query = alert::Entity::find().filter(is_recent).order_by_desc(Column::Id).limit(STANDING_MAX);
        self.alerts_of(keychain, query).await
    }

    /// Alerts that were raised before one, newest first. Rows that were edited are left out, and named in the log.
    pub(crate) async fn alerts(
        &self,
        keychain: &Keychain,
        open: Option<bool>,
        before: Option<Uuid>,
        limit: u64,
    ) -> Result<Vec<AlertRecord>, StoreError> {
        let mut query = alert::Entity::find().order_by_desc(Column::Id).limit(limit);
        if let Some(before) = before {
            query = query.filter(Column::Id.lt(before.to_string()));
        }
        query = match open {
            Some(true) => query.filter(Column::ClearedAt.is_null()),
            Some(false) => query.filter(Column::ClearedAt.is_not_null()),
            None => query,
        };
        self.alerts_of(keychain, query).await
    }

    /// Alerts about something that were open at some time between two moments, newest first.
    pub(crate) async fn alerts_within(
        &self,
        keychain: &Keychain,
        matter: &Matter,
        (since, until): (Time, Option<Time>),
        limit: u64,
    ) -> Result<Vec<AlertRecord>, StoreError> {
        let is = |subject: String| Column::Subject.eq(subject);
        // A key and a node may have the same name.
        let of_nodes = || Rule::ALL.iter().filter(|rule| rule.is_of_nodes()).map(|rule| rule.as_str());
        let about = match matter {
            Matter::Any => Condition::all(),
            Matter::Key(name) => Condition::any()
                .add(Condition::all().add(is(name.clone())).add(Column::Rule.is_not_in(of_nodes())))
                .add(is(format!("key {name}"))),
            Matter::Node(name) => Condition::all().add(is(name.clone())).add(Column::Rule.is_in(of_nodes())),
            Matter::ApiKey(id) => {
                let id = id.simple();
                let uses = Condition::all()
                    .add(Column::Rule.eq(Rule::UnusualUse.as_str()))
                    .add(Column::Summary.contains(id.to_string()));
                Condition::any().add(is(format!("api_key {id}"))).add(uses)
            }
        };
        let since = rows::millis(since);
        let lasted = Condition::any().add(Column::ClearedAt.is_null()).add(Column::ClearedAt.gte(since));
        let begun = until.map(|until| Column::RaisedAt.lte(rows::millis(until)));
        let query = alert::Entity::find()
            .filter(about)
            .filter(lasted)
            .filter(Condition::all().add_option(begun))
            .order_by_desc(Column::Id)
            .limit(limit);
        self.alerts_of(keychain, query).await
    }

    /// An alert by its id.
    pub(crate) async fn alert(
        &self,
        keychain: &Keychain,
        id: Uuid,
    ) -> Result<Option<AlertRecord>, StoreError> {
        find(&self.connection, keychain, id).await
    }

    async fn alerts_of(
        &self,
        keychain: &Keychain,
        query: sea_orm::Select<alert::Entity>,
    ) -> Result<Vec<AlertRecord>, StoreError> {
        let query = query.build(self.connection.get_database_backend());
        let found = self.connection.query_all_raw(query).await?;
        let sound = found.iter().filter_map(|row| {
            let record = record_of(keychain, row);
            if record.is_none() {
                tracing::error!(table = TABLE, "a row was changed outside the service; it is left out");
            }
            record
        });
        Ok(sound.collect())
    }

    pub(super) async fn alert_turn(&self) -> Result<DatabaseTransaction, StoreError> {
        let transaction = self.connection.begin_with_options(Self::writing()).await?;
        if self.is_shared() {
            let lock = format!("SELECT pg_advisory_xact_lock({ALERT_LOCK})");
            transaction.execute_unprepared(&lock).await?;
        }
        Ok(transaction)
    }
}

/// Says, or says again, that a node sees something.
async fn sighted(
    connection: &impl ConnectionTrait,
    node: &str,
    alert: &AlertRecord,
) -> Result<(), StoreError> {
    use alert_sighting::Column::{Node, Rule, SeenAt, Subject};
    let row = alert_sighting::Model {
        rule: alert.rule.as_str().to_owned(),
        subject: alert.subject.clone(),
        node: node.to_owned(),
        seen_at: rows::millis(alert.raised_at),
    };
    let again = OnConflict::columns([Rule, Subject, Node]).update_column(SeenAt).to_owned();
    let insert = alert_sighting::Entity::insert(row.into_active_model()).on_conflict(again);
    insert.exec_without_returning(connection).await?;
    Ok(())
}

/// What some node still sees. What others have said too long ago, or will have said, is removed.
async fn believed(
    connection: &impl ConnectionTrait,
    now: Time,
) -> Result<BTreeSet<(String, String)>, StoreError> {
    let believed = TimeDelta::from_std(BELIEVED).unwrap_or_default();
    let (from, to) = (rows::millis(now - believed), rows::millis(now + believed));
    let seen_at = alert_sighting::Column::SeenAt;
    let unbelieved = Condition::any().add(seen_at.lt(from)).add(seen_at.gt(to));
    alert_sighting::Entity::delete_many().filter(unbelieved).exec(connection).await?;
    let seen = alert_sighting::Entity::find().all(connection).await?;
    Ok(seen.into_iter().map(|row| (row.rule, row.subject)).collect())
}

/// Open alerts; of one rule and subject there is one at most.
pub(super) async fn open(
    connection: &impl ConnectionTrait,
    about: Option<&About>,
) -> Result<Vec<QueryResult>, StoreError> {
    let mut query = alert::Entity::find().filter(Column::ClearedAt.is_null()).limit(STANDING_MAX);
    if let Some((rule, subject)) = about {
        query = query.filter(Column::Rule.eq(rule.as_str())).filter(Column::Subject.eq(subject.as_str()));
    }
    Ok(connection.query_all_raw(query.build(connection.get_database_backend())).await?)
}

/// Nobody saw it any more when this node looked, or shortly before. Whatever clock said a moment that is long to come is not believed.
async fn was_over_just_now(
    connection: &impl ConnectionTrait,
    alert: &AlertRecord,
) -> Result<bool, StoreError> {
    let to = alert.raised_at + TimeDelta::from_std(BELIEVED).unwrap_or_default();
    let found = alert::Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::Rule.eq(alert.rule.as_str()))
        .filter(Column::Subject.eq(alert.subject.as_str()))
        .filter(Column::ClearedAt.gt(rows::millis(alert.raised_at - SETTLED)))
        .filter(Column::ClearedAt.lte(rows::millis(to)))
        .into_tuple::<String>()
        .one(connection)
        .await?;
    Ok(found.is_some())
}

async fn find(
    connection: &impl ConnectionTrait,
    keychain: &Keychain,
    id: Uuid,
) -> Result<Option<AlertRecord>, StoreError> {
    let query = alert::Entity::find_by_id(id.to_string());
    let row = connection.query_one_raw(query.build(connection.get_database_backend())).await?;
    Ok(row.and_then(|row| record_of(keychain, &row)))
}

/// A row that somebody else wrote stands in nobody's way: whoever sees what it was about raises it anew.
async fn forget_damaged(connection: &impl ConnectionTrait, row: &QueryResult) -> Result<(), StoreError> {
    tracing::error!(table = TABLE, "a row was changed outside the service; it is removed");
    let id: String = row.try_get("", "id")?;
    alert::Entity::delete_by_id(id).exec(connection).await?;
    Ok(())
}

/// The highest is that of the last change, since changes take turns.
async fn next_revision(connection: &impl ConnectionTrait) -> Result<i64, StoreError> {
    let highest = alert::Entity::find()
        .select_only()
        .expr_as(Column::Revision.max(), "revision")
        .into_tuple::<Option<i64>>()
        .one(connection)
        .await?;
    Ok(highest.flatten().unwrap_or(0) + 1)
}

pub(super) async fn write(
    connection: &impl ConnectionTrait,
    keychain: &Keychain,
    alert: &AlertRecord,
) -> Result<(), StoreError> {
    let revision = next_revision(connection).await?;
    row_of(keychain, alert, revision).into_active_model().reset_all().update(connection).await?;
    Ok(())
}

pub(super) async fn on_record(connection: &impl ConnectionTrait, record: String) -> Result<(), StoreError> {
    audit::insert(connection, EventRow::read(record).as_slice()).await
}

/// Leaves what is to be told of an alert, once for each channel.
pub(super) async fn tell(
    connection: &impl ConnectionTrait,
    (keychain, scribe): Pen<'_>,
    (kind, alert): (Kind, &AlertRecord),
    now: Time,
) -> Result<(), StoreError> {
    let body = serde_json::to_string(&scribe.told(alert))?;
    for channel in scribe.routing.of(kind, alert) {
        leave(connection, keychain, (channel, kind, alert.id, body.clone()), now).await?;
    }
    Ok(())
}

/// Leaves something to be told over a channel, unless it was left before.
pub(super) async fn leave(
    connection: &impl ConnectionTrait,
    keychain: &Keychain,
    (channel, kind, about, body): (&str, Kind, Uuid, String),
    now: Time,
) -> Result<(), StoreError> {
    let mut row = alert_delivery::Model {
        id: Uuid::now_v7().to_string(),
        about: about.to_string(),
        channel: channel.to_owned(),
        kind: kind.as_str().to_owned(),
        body,
        made_at: rows::millis(now),
        mac: Vec::new(),
        state: "pending".to_owned(),
        attempts: 0,
        next_at: rows::millis(now),
        last_error: None,
        ended_at: None,
        holder: String::new(),
        held_until: 0,
    };
    row.mac = mac_of_row(keychain, DELIVERIES, &row).to_vec();
    let there = OnConflict::new().do_nothing().to_owned();
    let insert = alert_delivery::Entity::insert(row.into_active_model()).on_conflict(there);
    match insert.exec_without_returning(connection).await {
        Ok(_) | Err(sea_orm::DbErr::RecordNotInserted) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn row_of(keychain: &Keychain, alert: &AlertRecord, revision: i64) -> alert::Model {
    let acknowledged = alert.acknowledged.as_ref();
    let mut row = alert::Model {
        id: alert.id.to_string(),
        rule: alert.rule.as_str().to_owned(),
        subject: alert.subject.clone(),
        severity: alert.severity.as_str().to_owned(),
        summary: alert.summary.clone(),
        value: i64::try_from(alert.value).unwrap_or(i64::MAX),
        raised_by: alert.raised_by.clone(),
        raised_at: rows::millis(alert.raised_at),
        acknowledged_by: acknowledged.map(|acknowledged| acknowledged.by.clone()),
        acknowledged_at: acknowledged.map(|acknowledged| rows::millis(acknowledged.at)),
        comment: acknowledged.and_then(|acknowledged| acknowledged.comment.clone()),
        escalated_at: alert.escalated_at.map(rows::millis),
        cleared_at: alert.cleared_at.map(rows::millis),
        revision,
        mac: Vec::new(),
    };
    row.mac = mac_of_row(keychain, TABLE, &row).to_vec();
    row
}

pub(super) fn record_of(keychain: &Keychain, row: &QueryResult) -> Option<AlertRecord> {
    let row = load::authentic::<alert::Model>(keychain, TABLE, row, |row| &row.mac).ok()?;
    let time = DateTime::from_timestamp_millis;
    let acknowledged = match (row.acknowledged_by, row.acknowledged_at) {
        (Some(by), Some(at)) => Some(Acknowledged { by, at: time(at)?, comment: row.comment }),
        (_, _) => None,
    };
    Some(AlertRecord {
        id: row.id.parse().ok()?,
        rule: Rule::parse(&row.rule)?,
        subject: row.subject,
        severity: Severity::parse(&row.severity)?,
        summary: row.summary,
        value: u64::try_from(row.value).unwrap_or(0),
        raised_by: row.raised_by,
        raised_at: time(row.raised_at)?,
        acknowledged,
        escalated_at: row.escalated_at.and_then(time),
        cleared_at: row.cleared_at.and_then(time),
    })
}

#[cfg(test)]
#[path = "alerts_tests.rs"]
mod tests;
