//! On a real file.

use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::{
    audit::{about::Anchor, line},
    store::testing::{at, open},
};

fn anchor(chain: Uuid, segment: u64, seq: u64) -> Anchor {
    let head = [7; 32];
    let content = format!(
        r#"{{"seq":{seq},"ts":"2026-01-01T00:00:00Z","event":"audit_checkpoint","chain":"{chain}","segment":{segment},"head":"{}","epoch":1,"kid":"k","signature":"s""#,
        line::text(&head)
    );
    let hash = line::text(&line::link(&head, content.as_bytes()));
    Anchor::read(&format!("{content},\"hash\":\"{hash}\"}}")).unwrap()
}

fn event(seconds: i64, members: Value) -> EventRow {
    let mut record = json!({"ts": at(seconds), "event": "key_rotated", "operation": "key.rotate", "actor": "a",
        "key": "k", "outcome": "ok", "node": "n", "epoch": 1});
    let Value::Object(members) = members else { panic!("members are an object") };
    record.as_object_mut().unwrap().extend(members);
    EventRow::read(record.to_string()).unwrap()
}

#[actix::test]
async fn the_last_checkpoint_of_each_chain_is_kept() {
    let (_folder, database, keychain) = open().await;
    let (one, other) = (Uuid::now_v7(), Uuid::now_v7());
    assert_eq!(database.anchor(&keychain, one).await.unwrap(), None);
    for (chain, node, segment, seq) in [(one, "n1", 1, 5), (other, "n2", 1, 3), (one, "n1", 2, 9)] {
        database.put_anchor(&keychain, node, &anchor(chain, segment, seq)).await.unwrap();
    }
    assert_eq!(database.anchor(&keychain, one).await.unwrap(), Some(anchor(one, 2, 9)));
    // Backwards it does not go.
    database.put_anchor(&keychain, "n1", &anchor(one, 1, 8)).await.unwrap();
    assert_eq!(database.anchor(&keychain, one).await.unwrap(), Some(anchor(one, 2, 9)));
    let all = database.audit_anchors(&keychain).await.unwrap();
    let named: Vec<(&str, u64)> = all.iter().map(|kept| (kept.node.as_str(), kept.anchor.seq)).collect();
    assert_eq!(named, [("n1", 9), ("n2", 3)]);
}

#[actix::test]
async fn an_edited_checkpoint_counts_for_nothing_and_is_mended() {
    let (_folder, database, keychain) = open().await;
    let chain = Uuid::now_v7();
    database.put_anchor(&keychain, "n", &anchor(chain, 2, 9)).await.unwrap();
    let edits = [
        "UPDATE audit_chains SET anchor_seq = 1",
        "UPDATE audit_chains SET node = 'other'",
        "UPDATE audit_chains SET started_at = started_at + 1",
        "UPDATE audit_chains SET anchor_line = replace(anchor_line, 'epoch', 'epoche')",
        "UPDATE audit_chains SET mac = x'00'",
        "UPDATE audit_chains SET anchor_at = 'nonsense'",
    ];
    for edit in edits {
        assert_eq!(database.connection.execute_unprepared(edit).await.unwrap().rows_affected(), 1);
        assert_eq!(database.anchor(&keychain, chain).await.unwrap(), None, "{edit}");
        assert!(database.audit_anchors(&keychain).await.unwrap().is_empty(), "{edit}");
        // A later one, or the same again: the row says nothing that would stand against it.
        database.put_anchor(&keychain, "n", &anchor(chain, 2, 9)).await.unwrap();
        assert_eq!(database.anchor(&keychain, chain).await.unwrap(), Some(anchor(chain, 2, 9)), "{edit}");
    }
}

#[actix::test]
async fn events_are_found_by_filter_and_page() {
    let (_folder, database, _) = open().await;
    let id = Uuid::new_v4().simple().to_string();
    let events = vec![
        event(0, json!({"n": 0})),
        event(1, json!({"n": 1, "event": "access_denied", "outcome": "forbidden", "actor_id": id})),
        event(2, json!({"n": 2, "key": "other", "actor": "b"})),
        event(2, json!({"n": 3, "epoch": 2, "key": "other"})),
        event(3, json!({"n": 4, "actor": "a\u{0}b"})),
    ];
    database.add_events(&events).await.unwrap();
    // A batch whose answer was lost comes again.
    database.add_events(&events).await.unwrap();
    let found = async |filter: EventFilter| -> Vec<i64> {
        let rows = database.events(&filter, None, 100).await.unwrap();
        let number = |row: &EventRow| serde_json::from_str::<Value>(row.record()).unwrap()["n"].as_i64();
        rows.iter().filter_map(number).collect()
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(found(EventFilter::default()).await, [4, 3, 2, 1, 0]);
    assert_eq!(found(EventFilter { event: text("access_denied"), ..EventFilter::default() }).await, [1]);
    assert_eq!(found(EventFilter { key: text("other"), ..EventFilter::default() }).await, [3, 2]);
    assert_eq!(found(EventFilter { actor: text("b"), ..EventFilter::default() }).await, [2]);
    assert_eq!(found(EventFilter { actor: Some(id), ..EventFilter::default() }).await, [1]);
    assert_eq!(found(EventFilter { outcome: text("forbidden"), ..EventFilter::default() }).await, [1]);
    let span = EventFilter { since: Some(at(1)), until: Some(at(3)), ..EventFilter::default() };
    assert_eq!(found(span).await, [3, 2, 1]);
    let (mut cursor, mut paged) = (None, Vec::new());
    loop {
        let page = database.events(&EventFilter::default(), cursor, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        cursor = Some(last.id().parse().unwrap());
        paged.extend(page);
    }
    assert_eq!(paged, database.events(&EventFilter::default(), None, 100).await.unwrap());
    assert_eq!(database.forget_events(at(2)).await.unwrap(), 2);
    assert_eq!(found(EventFilter::default()).await, [4, 3, 2]);
}

#[actix::test]
async fn many_events_are_written_and_forgotten_in_bounds() {
    let (_folder, database, _) = open().await;
    let events: Vec<EventRow> = (0..2_500).map(|n| event(n, json!({"n": n}))).collect();
    database.add_events(&events).await.unwrap();
    assert_eq!(database.events(&EventFilter::default(), None, 10_000).await.unwrap().len(), 2_500);
    assert_eq!(database.forget_events(at(2_400)).await.unwrap(), 2_400);
    assert_eq!(database.events(&EventFilter::default(), None, 10_000).await.unwrap().len(), 100);
}

#[test]
fn what_is_no_record_is_no_event() {
    for text in ["", "[]", "{}", r#"{"ts": "now", "event": "e"}"#, r#"{"ts": "2026-01-01T00:00:00Z"}"#] {
        assert_eq!(EventRow::read(text.to_owned()), None, "{text}");
    }
}
