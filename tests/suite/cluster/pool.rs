//! The connections of a node to the database, and what it says of a slow one.

use std::{
    thread,
    time::{Duration, Instant},
};

use claviger_tests::{Postgres, Proxy, cluster, cluster::at_once, process};
use serde_json::{Value, json};

const LONG: Duration = Duration::from_secs(60);
const MAX: &str = "CLAVIGER_DATABASE__MAX_CONNECTIONS";
const PATIENCE: &str = "CLAVIGER_DATABASE__ACQUIRE_TIMEOUT";

fn connections(postgres: &Postgres) -> u32 {
    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'claviger'";
    postgres.admin(count).trim().parse().unwrap()
}

#[test]
fn a_node_has_no_more_connections_than_it_may() {
    let postgres = Postgres::start();
    let node = cluster::node(&postgres.url(), 0, &[(MAX, "2")]);
    let most = thread::scope(|scope| {
        let load = scope.spawn(|| {
            at_once(16, |thread| {
                let client = node.client();
                for round in 0..5 {
                    let name = format!("k-{thread}-{round}");
                    client.post("/v1/keys", &json!({"name": name, "type": "aes256-gcm"})).expect(201);
                    client.get("/v1/keys/never-made").refused(404, "key_not_found");
                }
            })
        });
        let mut most = 0;
        while !load.is_finished() {
            most = most.max(connections(&postgres));
        }
        load.join().unwrap();
        most
    });
    assert_eq!(most, 2);
}

/// Whoever finds all connections taken is told to come again; nobody waits for ever, and it passes.
#[test]
fn a_pool_that_is_exhausted_is_told_in_time() {
    let postgres = Postgres::start();
    let node = cluster::node(&postgres.url(), 0, &[(MAX, "1"), (PATIENCE, "1s")]);
    let create = |name: String| {
        let began = Instant::now();
        let answer = node.client().post("/v1/keys", &json!({"name": name, "type": "aes256-gcm"}));
        (answer, began.elapsed())
    };
    let answers = thread::scope(|scope| {
        let held = "LOCK TABLE ring_meta IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(8)";
        let held = scope.spawn(|| postgres.psql(held));
        // The node's own look takes the connection, and waits for the lock.
        postgres.until_waiting("application_name = 'claviger' AND wait_event_type = 'Lock'", 1);
        let answers = at_once(4, |index| create(format!("k{index}")));
        let _held = held.join().unwrap();
        answers
    });
    let refused = answers.iter().filter(|(answer, _)| answer.status == 503).count();
    assert!(refused > 0, "{answers:?}");
    for (answer, took) in answers {
        assert!(took < Duration::from_secs(20), "{took:?}");
        if answer.status != 201 {
            assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
            answer.refused(503, "overloaded");
        }
    }
    let again = || (create("again".to_owned()).0.status != 503).then_some(());
    process::until(LONG, again).expect("it passes");
    node.client().get("/v1/keys/again").expect(200);
}

/// The lines about slow statements, by what they name.
fn slow(log: &str) -> Vec<String> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let slow = lines.filter(|line| line["fields"]["message"] == "slow statement");
    slow.map(|line| {
        assert!(line["fields"]["ms"].as_u64().unwrap() >= 200, "{line}");
        line["fields"]["statement"].as_str().unwrap().to_owned()
    })
    .collect()
}

/// They are named, and neither their text nor a value is in the log.
#[test]
fn slow_statements_are_named() {
    let postgres = Postgres::start();
    let proxy = Proxy::to(postgres.address());
    let node = cluster::node(&postgres.url_via(proxy.port()), 0, &[("CLAVIGER_LOG__FILTER", "trace")]);
    let client = node.client();
    client.post("/v1/keys", &json!({"name": "quick", "type": "es256"})).expect(201);
    let secret = "a-legacy-secret-0123456789-abcdefghijklmnop";
    proxy.delay(Duration::from_millis(150));
    let body = json!({"name": "imported-slowly", "type": "hs256", "legacy_secret": secret});
    client.post("/v1/keys/import", &body).expect(201);
    proxy.delay(Duration::ZERO);
    let log = node.log();
    let named = slow(&log);
    for expected in ["select ring_meta", "insert keys", "insert key_versions", "update ring_meta", "commit"] {
        assert!(named.iter().any(|name| name == expected), "{expected}: {named:?}");
    }
    for needle in [secret, "imported-slowly", "INSERT INTO", "FROM \\\"", "FOR UPDATE", "sqlx::query"] {
        assert!(!log.contains(needle), "{needle} is in the log");
    }
}

/// One that waits for a lock is slow, too.
#[test]
fn a_statement_that_waits_is_named() {
    let postgres = Postgres::start();
    let node = cluster::node(&postgres.url(), 0, &[]);
    thread::scope(|scope| {
        scope.spawn(|| postgres.hold_ring(2));
        postgres.until_waiting("wait_event = 'PgSleep'", 1);
        node.client().post("/v1/keys", &json!({"name": "k", "type": "es256"})).expect(201);
    });
    assert!(slow(&node.log()).contains(&"select ring_meta".to_owned()), "{}", node.log());
}
