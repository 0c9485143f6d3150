//! Checkpoints and events in PostgreSQL; in SQLite they are tested beside the code.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use claviger_actors::{
    audit::{about::Anchor, line},
    seal::{Keychain, MasterKeys},
    store::{Database, EventFilter, EventRow, Place, Pool},
};
use claviger_crypto::secret::SecretBytes;
use claviger_tests::Postgres;
use serde_json::json;
use uuid::Uuid;

use crate::tampered;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn anchor(chain: Uuid, seq: u64) -> Anchor {
    let head = [7; 32];
    let content = format!(
        r#"{{"seq":{seq},"ts":"2026-01-01T00:00:00Z","event":"audit_checkpoint","chain":"{chain}","segment":1,"head":"{}","epoch":1,"kid":"k","signature":"s""#,
        line::text(&head)
    );
    let hash = line::text(&line::link(&head, content.as_bytes()));
    Anchor::read(&format!("{content},\"hash\":\"{hash}\"}}")).unwrap()
}

async fn open(postgres: &Postgres) -> (Database, Arc<Keychain>) {
    let second = Duration::from_secs(30);
    let pool = Pool { min: 1, max: 4, acquire_timeout: second, max_lifetime: second };
    let url = postgres.url();
    let database = Database::open(Place::Server { url: &url, migration_url: None, pool }).await.unwrap();
    let masters = MasterKeys::new(vec![SecretBytes::new(vec![7; 32])]).unwrap();
    let deployment = database.open_deployment(&masters, at(0)).await.unwrap();
    (database, Arc::new(deployment.keychain))
}

#[test]
fn checkpoints_are_kept_and_never_go_backwards() {
    let postgres = Postgres::start();
    tampered::run(async {
        let (database, keychain) = open(&postgres).await;
        let chain = Uuid::now_v7();
        for seq in [5, 9, 7] {
            database.put_anchor(&keychain, "n", &anchor(chain, seq)).await.unwrap();
        }
        assert_eq!(database.anchor(&keychain, chain).await.unwrap(), Some(anchor(chain, 9)));
        let _edited = postgres.psql("UPDATE audit_chains SET anchor_seq = 1");
        assert_eq!(database.anchor(&keychain, chain).await.unwrap(), None);
        assert!(database.audit_anchors(&keychain).await.unwrap().is_empty());
        database.put_anchor(&keychain, "n", &anchor(chain, 8)).await.unwrap();
        let kept = database.audit_anchors(&keychain).await.unwrap();
        assert_eq!((kept.len(), kept[0].node.as_str(), &kept[0].anchor), (1, "n", &anchor(chain, 8)));
    });
}

#[test]
fn events_are_kept_found_and_forgotten() {
    let postgres = Postgres::start();
    tampered::run(async {
        let (database, _) = open(&postgres).await;
        let event = |n: i64, actor: &str| {
            let record = json!({"ts": at(n), "event": "e", "actor": actor, "key": "k\u{0}", "n": n});
            EventRow::read(record.to_string()).unwrap()
        };
        let events: Vec<EventRow> = (0..1_500).map(|n| event(n, "a")).collect();
        database.add_events(&events).await.unwrap();
        database.add_events(&events).await.unwrap();
        let all = database.events(&EventFilter::default(), None, 10_000).await.unwrap();
        assert!(all.iter().eq(events.iter().rev()));
        let cursor = all[99].id().parse().unwrap();
        let next = database.events(&EventFilter::default(), Some(cursor), 100).await.unwrap();
        assert_eq!(next, all[100..200]);
        // What the database refuses for its own sake is told from a database that is away.
        let _done = postgres.psql("ALTER TABLE audit_events ADD CONSTRAINT c CHECK (actor <> 'bad')");
        let refused = database.add_events(&[event(0, "bad")]).await.unwrap_err();
        assert!(refused.is_about_the_rows(), "{refused:?}");
        assert_eq!(database.forget_events(at(0) + TimeDelta::seconds(1_400)).await.unwrap(), 1_400);
        assert_eq!(database.events(&EventFilter::default(), None, 10_000).await.unwrap().len(), 100);
        let _gone = postgres.psql("DROP TABLE audit_events");
        assert!(!database.add_events(&events).await.unwrap_err().is_about_the_rows());
    });
}
