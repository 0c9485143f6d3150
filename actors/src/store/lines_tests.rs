//! On a real file.

use chrono::TimeDelta;
use claviger_entity::tables::{change, node};
use sea_orm::{EntityTrait as _, IntoActiveModel as _};
use tempfile::TempDir;

use super::*;
use crate::events::{Event, Place};

fn at(days: i64) -> Time {
    Time::from_timestamp_millis(1_700_000_000_000).unwrap() + TimeDelta::days(days)
}

async fn open() -> (TempDir, Database) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(crate::store::Place::File(&folder.path().join("test.db"))).await.unwrap();
    (folder, database)
}

/// So many changes of one line, one a day.
async fn changes(database: &Database, epochs: std::ops::RangeInclusive<u32>) {
    for number in epochs {
        put(database, number, 0, "k", "k").await;
    }
}

async fn put(database: &Database, number: u32, ordinal: i32, key: &str, recorded: &str) {
    let row = change::Model {
        epoch: rows::epoch(Epoch::new(1, number)),
        ordinal,
        at: rows::millis(at(number.into())),
        kind: "key.rotated".to_owned(),
        object: None,
        key_name: Some(key.to_owned()),
        version: Some(2),
        kid: Some("kid".to_owned()),
        state: Some("active".to_owned()),
        previous_version: Some(1),
        reason: None,
        actor: "a".to_owned(),
        record: format!(r#"{{"event":"key_rotated","key":"{recorded}"}}"#),
        head_hash: vec![0; 32],
    };
    change::Entity::insert(row.into_active_model())
        .exec_without_returning(&database.connection)
        .await
        .unwrap();
}

async fn left(database: &Database) -> Vec<u64> {
    let stretch = database.lines(Place::end_of(Epoch::new(1, 0)), Epoch::new(1, 1_000)).await.unwrap();
    stretch.lines.iter().map(|line| line.place.epoch.counter()).collect()
}

#[actix::test]
async fn lines_behind_a_place_come_in_order_and_in_pages() {
    let (_folder, database) = open().await;
    changes(&database, 1..=3).await;
    put(&database, 3, 1, "k", "other").await;
    let read = |after: Place, until: u32| database.lines(after, Epoch::new(1, until));
    let stretch = read(Place::end_of(Epoch::new(1, 1)), 3).await.unwrap();
    let places: Vec<_> = stretch
        .lines
        .iter()
        .map(|line| (line.place.epoch.counter(), line.place.ordinal, line.is_sound))
        .collect();
    assert_eq!((places, stretch.next), (vec![(2, 0, true), (3, 0, true), (3, 1, false)], None));
    assert_eq!(Event::of_line(&stretch.lines[0]).unwrap().epoch, Some(Epoch::new(1, 2)));
    let within = read(Place { epoch: Epoch::new(1, 3), ordinal: 0 }, 3).await.unwrap();
    assert_eq!(within.lines.len(), 1);
    assert_eq!(read(Place::end_of(Epoch::new(1, 1)), 2).await.unwrap().lines.len(), 1);

    changes(&database, 4..=600).await;
    let page = read(Place::end_of(Epoch::new(1, 3)), 600).await.unwrap();
    assert_eq!(page.lines.len() as u64, PAGE);
    assert_eq!(page.next, Some(Place { epoch: Epoch::new(1, 504), ordinal: 0 }));
}

#[actix::test]
async fn old_lines_go_from_the_beginning_and_what_is_needed_stays() {
    let (_folder, database) = open().await;
    changes(&database, 1..=9).await;
    let prune = |before: i64, newest: u32| database.prune_lines((at(before), at(100)), Epoch::new(1, newest));
    assert_eq!(prune(1, 9).await.unwrap(), 0);
    assert_eq!(prune(3, 9).await.unwrap(), 2);
    assert_eq!(left(&database).await, [3, 4, 5, 6, 7, 8, 9]);
    // The newest stays, however old it is.
    let mut node = node::Model {
        boot_id: "b".to_owned(),
        name: "n".to_owned(),
        version: String::new(),
        started_at: 0,
        seen_at: rows::millis(at(99)) + 1,
        applied_epoch: rows::epoch(Epoch::new(1, 6)),
        max_staleness: 0,
        draining: false,
        seal_revision: None,
        masters: None,
    };
    database.enter(&node).await.unwrap();
    assert_eq!(prune(100, 9).await.unwrap(), 3);
    // Whoever has to follow from there finds their place.
    assert_eq!(left(&database).await, [6, 7, 8, 9]);
    database.leave("b").await.unwrap();
    node.applied_epoch = 0;
    database.enter(&node).await.unwrap();
    assert_eq!(prune(100, 9).await.unwrap(), 0);
    database.leave("b").await.unwrap();
    // One that died without a word holds up nothing for longer than a day.
    node.seen_at = rows::millis(at(99)) - 1;
    database.enter(&node).await.unwrap();
    assert_eq!(prune(100, 9).await.unwrap(), 3);
    assert_eq!(left(&database).await, [9]);
    let tag = |number| database.tag_at(Epoch::new(1, number));
    assert_eq!(tag(9).await.unwrap(), Tag::of(&[0; 4]));
    assert_eq!(tag(8).await.unwrap(), None);
}
