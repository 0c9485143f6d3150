//! Lines of the change log for whoever tells of them, and the end of those that nobody needs any more.

use claviger_entity::tables::{
    change::{self, Column},
    node,
};
use sea_orm::{
    ColumnTrait as _, Condition, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
};

use super::{Database, StoreError, nodes::FORGOTTEN_MS, rows};
use crate::{
    events::{Line, Place, Settled, Stretch, Tag},
    keyring::{Epoch, record::Time},
};

/// Lines that are read at once.
const PAGE: u64 = 500;
/// Lines that one statement deletes, about.
const PRUNED_LINES: u64 = 1_000;

/// What a record says that it is about.
#[derive(serde::Deserialize)]
struct Record {
    key: Option<String>,
    pairing_request: Option<String>,
    device: Option<String>,
    asking_device: Option<String>,
    role: Option<String>,
}

impl Record {
    fn settled(self) -> Option<Settled> {
        let device = self.device.or(self.asking_device);
        Some(Settled { request: self.pairing_request?, device: device?, role: self.role })
    }
}

impl Database {
    /// The lines behind a place, up to the end of a change; at most [`PAGE`] of them.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn lines(&self, after: Place, until: Epoch) -> Result<Stretch, StoreError> {
        let later = Condition::any().add(Column::Epoch.gt(rows::epoch(after.epoch))).add(
            Condition::all()
                .add(Column::Epoch.eq(rows::epoch(after.epoch)))
                .add(Column::Ordinal.gt(after.ordinal)),
        );
        let found = change::Entity::find()
            // The index needs a bound of its own.
            .filter(Column::Epoch.gte(rows::epoch(after.epoch)))
            .filter(Column::Epoch.lte(rows::epoch(until)))
            .filter(later)
            .order_by_asc(Column::Epoch)
            .order_by_asc(Column::Ordinal)
            .limit(PAGE + 1)
            .all(&self.connection)
            .await?;
        let mut lines: Vec<Line> = found.into_iter().map(line).collect();
        // The one too many tells whether the change before it is complete.
        let next = if lines.len() as u64 > PAGE { lines.pop().map(|line| line.place) } else { None };
        Ok(Stretch { lines, next })
    }

    /// The history up to a change, as far as a mark names it; `None` when its line is gone.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn tag_at(&self, epoch: Epoch) -> Result<Option<Tag>, StoreError> {
        let line = change::Entity::find_by_id((rows::epoch(epoch), 0)).one(&self.connection).await?;
        Ok(line.and_then(|line| Tag::of(&line.head_hash)))
    }

    /// Removes lines of before a moment from the beginning of the log, never the newest nor one from which a node that has given a sign in the day
    /// before `now` may still have to follow; answers with how many, a bounded number at a time.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn prune_lines(
        &self,
        (before, now): (Time, Time),
        newest: Epoch,
    ) -> Result<u64, StoreError> {
        // Whoever has given no sign for so long is dead: what it would follow from is kept for nobody.
        let nodes: Vec<i64> = node::Entity::find()
            .select_only()
            .column(node::Column::AppliedEpoch)
            .filter(node::Column::SeenAt.gte(rows::millis(now) - FORGOTTEN_MS))
            .into_tuple()
            .all(&self.connection)
            .await?;
        // One that has just entered has not written how far it is; until it has, everything stays.
        let floor = nodes.into_iter().min().unwrap_or(i64::MAX).min(rows::epoch(newest));
        let oldest: Vec<(i64, i64)> = change::Entity::find()
            .select_only()
            .column(Column::Epoch)
            .column(Column::At)
            .filter(Column::Epoch.lt(floor))
            .order_by_asc(Column::Epoch)
            .order_by_asc(Column::Ordinal)
            .limit(PRUNED_LINES)
            .into_tuple()
            .all(&self.connection)
            .await?;
        // A beginning of the log, so that what is left has no hole, whatever clocks have said.
        let before = rows::millis(before);
        let Some((last, _)) = oldest.into_iter().take_while(|(_, at)| *at < before).last() else {
            return Ok(0);
        };
        let pruned =
            change::Entity::delete_many().filter(Column::Epoch.lte(last)).exec(&self.connection).await?;
        Ok(pruned.rows_affected)
    }
}

fn line(row: change::Model) -> Line {
    let record = serde_json::from_str::<Record>(&row.record).ok();
    Line {
        place: Place { epoch: Epoch(u64::try_from(row.epoch).unwrap_or(0)), ordinal: row.ordinal },
        tag: Tag::of(&row.head_hash),
        is_sound: record.as_ref().is_some_and(|record| record.key == row.key_name),
        settled: record.and_then(Record::settled),
        kind: row.kind,
        key: row.key_name,
        version: row.version,
        kid: row.kid,
        state: row.state,
        previous_version: row.previous_version,
        reason: row.reason,
    }
}

#[cfg(test)]
#[path = "lines_tests.rs"]
mod tests;
