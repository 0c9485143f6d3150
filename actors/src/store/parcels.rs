//! What is to be told to whom, and what is to be kept quiet.

use chrono::{DateTime, TimeDelta};
use claviger_entity::tables::{
    alert_delivery::{self, Column},
    alert_silence,
};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _, IntoActiveModel as _,
    PaginatorTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, QueryTrait as _,
    TransactionTrait as _, sea_query::Expr,
};
use uuid::Uuid;

use super::{
    Database, StoreError,
    alerts::{self, Pen},
    load, rows, slow,
};
use crate::{
    alerts::{
        AlertRecord, Delivery, DeliveryState, Doer, Fate, Kind, Parcel, RetryError, Scribe, Silence,
        SilenceError, relevance,
    },
    keyring::record::Time,
    seal::{Keychain, mac_of_row},
};

const DELIVERIES: &str = "alert_deliveries";
const SILENCES: &str = "alert_silences";
/// Nobody else tries meanwhile: twice as long as a try may take.
const LEASE: TimeDelta = TimeDelta::seconds(30);
/// Leases that end later were written by another clock.
const FURTHEST: TimeDelta = TimeDelta::seconds(60);
/// Those that are due and looked at to find one that can be told.
const LOOKED_AT: u64 = 50;
/// Silences that may be in force at a time.
const SILENCES_MAX: u64 = 1_000;

/// Something that was taken to be told, and what becomes of it untold; and when the next one is due if there is none.
pub(crate) type Taken = (Option<(Parcel, Option<Fate>)>, Option<Time>);

impl Database {
    /// Takes what is due first over a channel, under a lease.
    pub(crate) async fn take_parcel(
        &self,
        keychain: &Keychain,
        (channel, holder): (&str, &str),
        now: Time,
    ) -> Result<Taken, StoreError> {
        let pending = || {
            alert_delivery::Entity::find()
                .filter(Column::Channel.eq(channel))
                .filter(Column::State.eq(DeliveryState::Pending.as_str()))
        };
        let due = pending()
            .filter(Column::NextAt.lte(rows::millis(now)))
            .filter(is_free(now))
            .order_by_asc(Column::Id)
            .limit(LOOKED_AT)
            .all(&self.connection)
            .await?;
        for row in due {
            // What began is told before its end.
            let before =
                pending().filter(Column::About.eq(row.about.as_str())).filter(Column::Id.lt(row.id.as_str()));
            if before.count(&self.connection).await? > 0 || !self.lease_parcel(&row.id, holder, now).await? {
                continue;
            }
            return Ok((Some(self.judged(keychain, row, now).await?), None));
        }
        // What somebody tells just now may come to nothing.
        let mut next = None;
        for column in [Column::NextAt, Column::HeldUntil] {
            let soonest = pending()
                .select_only()
                .column(column)
                .order_by_asc(column)
                .filter(column.gt(rows::millis(now)))
                .into_tuple::<i64>()
                .one(&self.connection)
                .await?;
            next = [next, soonest].into_iter().flatten().min();
        }
        Ok((None, next.and_then(DateTime::from_timestamp_millis)))
    }

    async fn lease_parcel(&self, id: &str, holder: &str, now: Time) -> Result<bool, StoreError> {
        let taken = alert_delivery::Entity::update_many()
            .col_expr(Column::Holder, Expr::value(holder))
            .col_expr(Column::HeldUntil, Expr::value(rows::millis(now + LEASE)))
            .filter(Column::Id.eq(id))
            .filter(Column::State.eq(DeliveryState::Pending.as_str()))
            .filter(is_free(now))
            .exec(&self.connection)
            .await?;
        Ok(taken.rows_affected == 1)
    }

    /// What a row says, and whether there is any use in telling it.
    async fn judged(
        &self,
        keychain: &Keychain,
        row: alert_delivery::Model,
        now: Time,
    ) -> Result<(Parcel, Option<Fate>), StoreError> {
        let is_sound = claviger_crypto::digest::ct_eq(&mac_of_row(keychain, DELIVERIES, &row), &row.mac);
        let was_put_off = row.attempts == 0 && row.next_at > row.made_at;
        let (about, channel) = (row.about.clone(), row.channel.clone());
        let id = row.id.parse::<Uuid>();
        let (Some(parcel), true) = (parcel_of(row), is_sound) else {
            tracing::error!(table = DELIVERIES, "a row was changed outside the service; it is not told");
            let id = id.map_err(|_| StoreError::Conflict)?;
            let empty = Parcel {
                id,
                about: id,
                kind: Kind::Incident,
                made_at: now,
                body: String::new(),
                attempts: 0,
            };
            return Ok((empty, Some(Fate::Dead("the row was changed outside the service".to_owned()))));
        };
        if parcel.kind == Kind::Incident {
            return Ok((parcel, None));
        }
        let Some(alert) = self.alert(keychain, parcel.about).await? else {
            return Ok((parcel, Some(Fate::Dropped)));
        };
        let told = alert_delivery::Entity::find()
            .filter(Column::About.eq(about))
            .filter(Column::Channel.eq(channel))
            .filter(Column::Kind.ne(Kind::Cleared.as_str()))
            .filter(Column::State.eq(DeliveryState::Done.as_str()));
        let has_begun = parcel.kind != Kind::Cleared || told.count(&self.connection).await? > 0;
        let silences = self.silences(keychain, now).await?;
        let fate = relevance((parcel.kind, was_put_off, has_begun), &alert, &silences, now);
        Ok((parcel, fate))
    }

    /// Keeps what became of something that this node had taken.
    pub(crate) async fn put_parcel(
        &self,
        id: Uuid,
        holder: &str,
        fate: &Fate,
        now: Time,
    ) -> Result<(), StoreError> {
        let state = match fate {
            Fate::Done => DeliveryState::Done,
            Fate::Dropped => DeliveryState::Dropped,
            Fate::Later(..) => DeliveryState::Pending,
            Fate::Dead(_) => DeliveryState::Dead,
        };
        let mut update = alert_delivery::Entity::update_many()
            .col_expr(Column::State, Expr::value(state.as_str()))
            .col_expr(Column::HeldUntil, Expr::value(0_i64))
            .filter(Column::Id.eq(id.to_string()))
            .filter(Column::State.eq(DeliveryState::Pending.as_str()))
            .filter(Column::Holder.eq(holder));
        let tried = Expr::cust("attempts + 1");
        update = match fate {
            Fate::Done => update
                .col_expr(Column::Attempts, tried)
                .col_expr(Column::LastError, Expr::value(None::<String>)),
            Fate::Dropped => update,
            Fate::Dead(why) => update
                .col_expr(Column::Attempts, tried)
                .col_expr(Column::LastError, Expr::value(why.as_str())),
            Fate::Later(pause, why) => {
                let next = now + TimeDelta::from_std(*pause).unwrap_or(TimeDelta::days(1));
                let update = update.col_expr(Column::NextAt, Expr::value(rows::millis(next)));
                match why {
                    Some(why) => update
                        .col_expr(Column::Attempts, tried)
                        .col_expr(Column::LastError, Expr::value(why.as_str())),
                    None => update,
                }
            }
        };
        if !matches!(fate, Fate::Later(..)) {
            update = update.col_expr(Column::EndedAt, Expr::value(Some(rows::millis(now))));
        }
        update.exec(&self.connection).await?;
        Ok(())
    }

    /// Leaves something to be told over all of these channels, each once.
    pub(crate) async fn leave_parcels(
        &self,
        keychain: &Keychain,
        channels: &[String],
        (kind, about, body): (Kind, Uuid, String),
        now: Time,
    ) -> Result<(), StoreError> {
        let transaction = self.connection.begin_with_options(Self::writing()).await?;
        for channel in channels {
            alerts::leave(&transaction, keychain, (channel, kind, about, body.clone()), now).await?;
        }
        slow::commit(transaction).await?;
        Ok(())
    }

    /// What was, or is to be, told, newest first: of one alert or incident, of one state, before one.
    pub(crate) async fn deliveries(
        &self,
        (about, state): (Option<Uuid>, Option<DeliveryState>),
        before: Option<Uuid>,
        limit: u64,
    ) -> Result<Vec<Delivery>, StoreError> {
        let conditions = Condition::all()
            .add_option(about.map(|about| Column::About.eq(about.to_string())))
            .add_option(state.map(|state| Column::State.eq(state.as_str())))
            .add_option(before.map(|before| Column::Id.lt(before.to_string())));
        let found = alert_delivery::Entity::find()
            .filter(conditions)
            .order_by_desc(Column::Id)
            .limit(limit)
            .all(&self.connection)
            .await?;
        Ok(found.into_iter().filter_map(delivery_of).collect())
    }

    /// Has a message told after all that was given up, with its tries counted anew. What was dropped because of it, the end of whose beginning
    /// nobody was told, is told then too. One that is to be told already, or was told, stays as it is.
    pub(crate) async fn retry_parcel(
        &self,
        scribe: &Scribe,
        id: Uuid,
        doer: &Doer,
        now: Time,
    ) -> Result<Result<Delivery, RetryError>, StoreError> {
        let find = || alert_delivery::Entity::find_by_id(id.to_string());
        let found = find().one(&self.connection).await?.and_then(delivery_of);
        let Some(delivery) = found else { return Ok(Err(RetryError::NotFound)) };
        match delivery.state {
            DeliveryState::Pending | DeliveryState::Done => return Ok(Ok(delivery)),
            DeliveryState::Dropped => return Ok(Err(RetryError::Dropped)),
            DeliveryState::Dead => {}
        }
        if !scribe.routing.all().any(|channel| channel == delivery.channel) {
            return Ok(Err(RetryError::NoChannel(delivery.channel)));
        }
        let transaction = self.connection.begin_with_options(Self::writing()).await?;
        let this = Condition::all().add(Column::Id.eq(id.to_string()));
        if revive(&transaction, this, DeliveryState::Dead).await? == 1 {
            if matches!(delivery.kind, Kind::Raised | Kind::Escalated) {
                let end = Condition::all()
                    .add(Column::About.eq(delivery.about.to_string()))
                    .add(Column::Channel.eq(delivery.channel.as_str()))
                    .add(Column::Kind.eq(Kind::Cleared.as_str()));
                revive(&transaction, end, DeliveryState::Dropped).await?;
            }
            alerts::on_record(&transaction, scribe.retry_record(doer, &delivery, now)).await?;
        }
        slow::commit(transaction).await?;
        let left = find().one(&self.connection).await?.and_then(delivery_of);
        Ok(left.ok_or(RetryError::NotFound))
    }

    /// Silences that are in force, oldest first. Rows that somebody else wrote keep nobody quiet.
    pub(crate) async fn silences(&self, keychain: &Keychain, now: Time) -> Result<Vec<Silence>, StoreError> {
        let query = alert_silence::Entity::find()
            .filter(alert_silence::Column::Until.gt(rows::millis(now)))
            .order_by_asc(alert_silence::Column::Id)
            .limit(2 * SILENCES_MAX)
            .build(self.connection.get_database_backend());
        let found = self.connection.query_all_raw(query).await?;
        let sound = found.iter().filter_map(|row| {
            let sound = load::authentic::<alert_silence::Model>(keychain, SILENCES, row, |row| &row.mac);
            let silence = sound.ok().and_then(silence_of);
            if silence.is_none() {
                tracing::error!(table = SILENCES, "a row was changed outside the service; it is left out");
            }
            silence
        });
        Ok(sound.collect())
    }

    /// Keeps alerts quiet from now on.
    pub(crate) async fn put_silence(
        &self,
        (keychain, scribe): Pen<'_>,
        silence: &Silence,
        doer: &Doer,
    ) -> Result<Result<(), SilenceError>, StoreError> {
        use alert_silence::Column::Until;
        let now = rows::millis(silence.made_at);
        let transaction = self.connection.begin_with_options(Self::writing()).await?;
        alert_silence::Entity::delete_many().filter(Until.lte(now)).exec(&transaction).await?;
        if alert_silence::Entity::find().count(&transaction).await? >= SILENCES_MAX {
            transaction.rollback().await?;
            return Ok(Err(SilenceError::TooMany));
        }
        let mut row = alert_silence::Model {
            id: silence.id.to_string(),
            rule: silence.rule.map(|rule| rule.as_str().to_owned()),
            subject: silence.subject.clone(),
            reason: silence.reason.clone(),
            made_by: silence.made_by.clone(),
            made_at: now,
            until: rows::millis(silence.until),
            mac: Vec::new(),
        };
        row.mac = mac_of_row(keychain, SILENCES, &row).to_vec();
        alert_silence::Entity::insert(row.into_active_model()).exec_without_returning(&transaction).await?;
        let record = scribe.silence_record("alert.silence", doer, silence, silence.made_at);
        alerts::on_record(&transaction, record).await?;
        slow::commit(transaction).await?;
        Ok(Ok(()))
    }

    /// Ends a silence; what it has put off is told. `false`: there is none.
    pub(crate) async fn end_silence(
        &self,
        (keychain, scribe): Pen<'_>,
        id: Uuid,
        doer: &Doer,
        now: Time,
    ) -> Result<bool, StoreError> {
        let known = self.silences(keychain, now).await?;
        let Some(silence) = known.into_iter().find(|silence| silence.id == id) else { return Ok(false) };
        let transaction = self.connection.begin_with_options(Self::writing()).await?;
        let removed = alert_silence::Entity::delete_by_id(id.to_string()).exec(&transaction).await?;
        if removed.rows_affected != 1 {
            transaction.rollback().await?;
            return Ok(false);
        }
        alert_delivery::Entity::update_many()
            .col_expr(Column::NextAt, Expr::value(rows::millis(now)))
            .filter(Column::State.eq(DeliveryState::Pending.as_str()))
            .filter(Column::Attempts.eq(0))
            .exec(&transaction)
            .await?;
        alerts::on_record(&transaction, scribe.silence_record("alert.unsilence", doer, &silence, now))
            .await?;
        slow::commit(transaction).await?;
        Ok(true)
    }

    /// Further people are to be told of what nobody has taken up since a moment. Answers with what that is.
    pub(crate) async fn escalate_alerts(
        &self,
        pen: Pen<'_>,
        raised_before: Time,
        doer: &Doer,
        now: Time,
    ) -> Result<Vec<AlertRecord>, StoreError> {
        let silences = self.silences(pen.0, now).await?;
        let transaction = self.alert_turn().await?;
        let mut escalated = Vec::new();
        for row in alerts::open(&transaction, None).await? {
            let Some(alert) = alerts::record_of(pen.0, &row) else { continue };
            let is_quiet = silences.iter().any(|silence| silence.is_about(&alert));
            if !alert.waits(raised_before) || is_quiet {
                continue;
            }
            let alert = AlertRecord { escalated_at: Some(now), ..alert };
            alerts::write(&transaction, pen.0, &alert).await?;
            alerts::tell(&transaction, pen, (Kind::Escalated, &alert), now).await?;
            alerts::on_record(&transaction, pen.1.record("alert.escalated", doer, &alert, now)).await?;
            escalated.push(alert);
        }
        slow::commit(transaction).await?;
        Ok(escalated)
    }
}

/// Messages of a state are to be told again, from the first try on. It is due since it came up: one that was put off is another matter.
async fn revive(
    connection: &impl ConnectionTrait,
    which: Condition,
    state: DeliveryState,
) -> Result<u64, StoreError> {
    let revived = alert_delivery::Entity::update_many()
        .col_expr(Column::State, Expr::value(DeliveryState::Pending.as_str()))
        .col_expr(Column::Attempts, Expr::value(0_i64))
        .col_expr(Column::NextAt, Expr::col(Column::MadeAt))
        .col_expr(Column::EndedAt, Expr::value(None::<i64>))
        .col_expr(Column::HeldUntil, Expr::value(0_i64))
        .filter(which)
        .filter(Column::State.eq(state.as_str()))
        .exec(connection)
        .await?;
    Ok(revived.rows_affected)
}

/// Nobody tells it just now.
fn is_free(now: Time) -> Condition {
    Condition::any()
        .add(Column::HeldUntil.lte(rows::millis(now)))
        .add(Column::HeldUntil.gt(rows::millis(now + FURTHEST)))
}

fn parcel_of(row: alert_delivery::Model) -> Option<Parcel> {
    Some(Parcel {
        id: row.id.parse().ok()?,
        about: row.about.parse().ok()?,
        kind: Kind::parse(&row.kind)?,
        made_at: DateTime::from_timestamp_millis(row.made_at)?,
        body: row.body,
        attempts: u32::try_from(row.attempts).unwrap_or(u32::MAX),
    })
}

fn delivery_of(row: alert_delivery::Model) -> Option<Delivery> {
    let time = DateTime::from_timestamp_millis;
    Some(Delivery {
        id: row.id.parse().ok()?,
        about: row.about.parse().ok()?,
        channel: row.channel,
        kind: Kind::parse(&row.kind)?,
        state: DeliveryState::parse(&row.state)?,
        attempts: u64::try_from(row.attempts).unwrap_or(0),
        made_at: time(row.made_at)?,
        next_at: time(row.next_at)?,
        last_error: row.last_error,
        ended_at: row.ended_at.and_then(time),
    })
}

fn silence_of(row: alert_silence::Model) -> Option<Silence> {
    let rule = match row.rule {
        None => None,
        Some(rule) => Some(crate::alerts::Rule::parse(&rule)?),
    };
    Some(Silence {
        id: row.id.parse().ok()?,
        rule,
        subject: row.subject,
        reason: row.reason,
        made_by: row.made_by,
        made_at: DateTime::from_timestamp_millis(row.made_at)?,
        until: DateTime::from_timestamp_millis(row.until)?,
    })
}
