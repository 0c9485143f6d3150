//! Rows move to the present version of the key, whatever happens meanwhile.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use claviger_tests::{
    Client, Cluster, Node, Postgres,
    cluster::settled_node,
    process::{self, until},
};
use serde_json::{Value, json};

use super::{progress, put, rotate, wait_until_moved};

/// Some of everything: secrets with a history, tokens, offline tokens; in all 4 rows a number.
fn fill(client: &Client, numbers: std::ops::Range<usize>) {
    for number in numbers {
        for value in ["old", "new"] {
            put(client, &format!("/v1/secrets/u{number}/s"), &json!({"value": format!("{value}-{number}")}));
        }
        put(
            client,
            &format!("/v1/auth-tokens/u{number}/p"),
            &json!({"access_token": format!("a-{number}"), "refresh_token": "r"}),
        )
        .expect(201);
        put(
            client,
            &format!("/v1/offline-tokens/u{number}"),
            &json!({"offline_token": format!("o-{number}")}),
        )
        .expect(201);
    }
}

fn check(client: &Client, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let secret = format!("/v1/secrets/u{number}/s");
        assert_eq!(client.get(&secret).expect(200)["value"], format!("new-{number}"));
        assert_eq!(client.get(&format!("{secret}?version=1")).expect(200)["value"], format!("old-{number}"));
        assert_eq!(
            client.get(&format!("/v1/auth-tokens/u{number}/p")).expect(200)["access_token"],
            format!("a-{number}")
        );
        assert_eq!(
            client.get(&format!("/v1/offline-tokens/u{number}")).expect(200)["offline_token"],
            format!("o-{number}")
        );
    }
}

fn kids(client: &Client) -> Vec<String> {
    let key = client.get("/v1/keys/stores").expect(200);
    key["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|version| version["kid"].as_str().unwrap().to_owned())
        .collect()
}

/// Rows a version of the key, in all tables.
fn counted(postgres: &Postgres, kid: &str) -> u64 {
    let count = |table: &str| format!("(SELECT count(*) FROM {table} WHERE kid = '{kid}')");
    let tables = ["secrets", "secret_versions", "auth_tokens", "offline_tokens"].map(count);
    postgres.psql(&format!("SELECT {}", tables.join(" + "))).parse().unwrap()
}

#[test]
fn rows_follow_the_key_and_versions_wait_for_them() {
    let cluster = Cluster::start(
        2,
        &[("CLAVIGER_STORES__MIGRATION_RATE", "40"), ("CLAVIGER_STORES__MIGRATION_BATCH", "7")],
    );
    let client = cluster.client(0);
    fill(&client, 0..25);
    let tag = client.get("/v1/secrets/u0/s").header("etag").to_owned();
    let first = client.get("/v1/keys/stores").expect(200)["versions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|version| version["version"] == 1)
        .unwrap()["kid"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(counted(&cluster.postgres, &first), 100);
    rotate(&client);
    // It takes its time: a hundred rows at twice forty a second at most.
    let raise = || client.patch("/v1/keys/stores", &json!({"min_decryption_version": 2}));
    raise().refused(409, "key_state_conflict");
    let destroy = || client.post("/v1/keys/stores/versions/1/destroy", &json!({"reason": "drill"}));
    destroy().refused(409, "key_state_conflict");
    check(&cluster.client(1), 0..3);
    let moving = until(super::node_patience(), || {
        let stores = progress(&client);
        (stores["rate"].as_f64()? > 0.0 && stores["pending"].as_u64()? > 0).then_some(stores)
    });
    let moving = moving.expect("it is seen moving");
    assert!(moving["eta_seconds"].as_f64().is_some_and(|eta| eta > 0.0) && moving["rows"] == 100, "{moving}");
    wait_until_moved(&client);
    let told = until(super::node_patience(), || {
        let metrics = client.get("/metrics").text;
        let is_so = |line: &str| metrics.lines().any(|told| told == line);
        (is_so("claviger_stores_rows 100") && is_so("claviger_stores_migration_pending_rows 0")).then_some(())
    });
    assert!(told.is_some());
    assert_eq!(counted(&cluster.postgres, &first), 0);
    // Nothing changed for those who read: the tag is the one of before.
    assert_eq!(client.get("/v1/secrets/u0/s").header("etag"), tag);
    raise().expect(200);
    destroy().expect(200);
    check(&cluster.client(1), 0..25);
    // The whole key, neither.
    client.patch("/v1/keys/stores", &json!({"deletion_allowed": true})).expect(200);
    client.delete("/v1/keys/stores").refused(409, "key_state_conflict");
    // A key that nothing is stored under goes as before.
    client.post("/v1/keys", &json!({"name": "other", "type": "aes256-gcm"})).expect(201);
    client.post("/v1/keys/other/rotate", &json!({"force": true, "reason": "x"})).expect(200);
    client.post("/v1/keys/other/versions/1/destroy", &json!({"reason": "x"})).expect(200);
}

/// P1: nodes that are killed in the middle lose nothing, and writers are not held up nor overwritten.
#[test]
fn p1_a_killed_migration_goes_on() {
    let postgres = Postgres::start();
    let pace = [("CLAVIGER_STORES__MIGRATION_RATE", "30"), ("CLAVIGER_STORES__MIGRATION_BATCH", "5")];
    let mut nodes: Vec<Node> = (0..2).map(|index| settled_node(&postgres.url(), index, &pace)).collect();
    fill(&nodes[0].client(), 0..60);
    rotate(&nodes[0].client());
    let rest = |postgres: &Postgres, primary: &str| {
        let count = |table: &str| format!("(SELECT count(*) FROM {table} WHERE kid <> '{primary}')");
        let tables = ["secrets", "secret_versions", "auth_tokens", "offline_tokens"].map(count);
        postgres.psql(&format!("SELECT {}", tables.join(" + "))).parse::<u64>().unwrap()
    };
    let key = nodes[0].client().get("/v1/keys/stores").expect(200);
    let primary = key["versions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|version| version["state"] == "active")
        .unwrap()["kid"]
        .as_str()
        .unwrap()
        .to_owned();
    let (mut kills, mut seen) = (0, std::collections::BTreeSet::new());
    while rest(&postgres, &primary) > 0 && kills < 12 {
        let client = nodes[0].client();
        // A writer in the middle of it.
        let number = kills;
        let value = json!({"offline_token": format!("o-{number}")});
        let _written = client.try_send(
            "PUT",
            &format!("/v1/offline-tokens/u{number}"),
            Some(value.to_string().into_bytes()),
            &[],
        );
        process::pause(Duration::from_millis(60 + 37 * kills as u64));
        nodes[kills % 2].kill9();
        seen.insert(rest(&postgres, &primary));
        nodes[kills % 2].restart();
        kills += 1;
    }
    assert!(kills >= 3 && seen.len() >= 2, "{kills} {seen:?}");
    let client = nodes[0].client();
    wait_until_moved(&client);
    assert_eq!(rest(&postgres, &primary), 0);
    check(&nodes[1].client(), 0..60);
    check(&client, 0..60);
}

/// The same on a file.
#[test]
fn p1_a_killed_migration_goes_on_in_a_file() {
    let mut node =
        Node::with(&[("CLAVIGER_STORES__MIGRATION_RATE", "100"), ("CLAVIGER_STORES__MIGRATION_BATCH", "5")]);
    fill(&node.client(), 0..30);
    rotate(&node.client());
    for kill in 0..4_u64 {
        process::pause(Duration::from_millis(120 + 50 * kill));
        node.restart();
    }
    let client = node.client();
    wait_until_moved(&client);
    assert!(kids(&client).len() >= 3);
    client.patch("/v1/keys/stores", &json!({"min_decryption_version": 2})).expect(200);
    check(&client, 0..30);
}

/// A concurrent writer is never overwritten by what the migration has read before.
#[test]
fn p2_the_migration_overwrites_nobody() {
    let cluster = Cluster::start(
        2,
        &[("CLAVIGER_STORES__MIGRATION_RATE", "100000"), ("CLAVIGER_STORES__MIGRATION_BATCH", "50")],
    );
    let client = cluster.client(0);
    let names: Vec<String> = (0..40).map(|number| format!("n{number}")).collect();
    let batch = |round: usize| -> Value {
        let put: Vec<Value> =
            names.iter().map(|name| json!({"name": name, "value": round.to_string()})).collect();
        json!({"put": put})
    };
    client.post("/v1/secrets/alice:batch", &batch(0)).expect(200);
    std::thread::scope(|scope| {
        let rotating = scope.spawn(|| {
            for _ in 0..8 {
                rotate(&client);
                process::pause(Duration::from_millis(150));
            }
        });
        let mut round = 0;
        while !rotating.is_finished() {
            round += 1;
            let done = cluster.client(1).post("/v1/secrets/alice:batch", &batch(round)).expect(200);
            assert!(
                done["put"].as_array().unwrap().iter().all(|item| item["version"] == round + 1),
                "{done}"
            );
            let read = client.post("/v1/secrets/alice:batch", &json!({"get": names})).expect(200);
            let expected = Value::String(round.to_string());
            assert!(read["get"].as_array().unwrap().iter().all(|item| item["value"] == expected), "{read}");
        }
        assert!(round > 3);
    });
    wait_until_moved(&client);
}

/// P1: versions are ended as soon as they may be, on one node, while another one writes all the time: no row is left behind.
#[test]
fn p1_no_row_is_orphaned() {
    let cluster = Cluster::start(2, &[("CLAVIGER_STORES__MIGRATION_RATE", "100000")]);
    let (ender, writer) = (cluster.client(0), cluster.client(1));
    // Whoever writes ends by itself too, should the other one fail.
    let (is_over, began) = (AtomicBool::new(false), std::time::Instant::now());
    let mut ended = 0;
    let written = std::thread::scope(|scope| {
        let ending = scope.spawn(|| {
            let mut ended = 0;
            for version in 2..=7 {
                rotate(&ender);
                let body = json!({"min_decryption_version": version});
                let raise = || (ender.patch("/v1/keys/stores", &body).status == 200).then_some(());
                until(super::node_patience(), raise).expect("rows move, and then the version may end");
                let path = format!("/v1/keys/stores/versions/{}/destroy", version - 1);
                ender.post(&path, &json!({"reason": "drill"})).expect(200);
                ended += 1;
                if began.elapsed() > Duration::from_secs(45) {
                    break;
                }
            }
            is_over.store(true, Ordering::Relaxed);
            ended
        });
        let writing: Vec<_> = (0..3)
            .map(|thread| {
                let (writer, is_over) = (&writer, &is_over);
                scope.spawn(move || {
                    let mut written = 0;
                    while !is_over.load(Ordering::Relaxed) && began.elapsed() < Duration::from_secs(90) {
                        let path = format!("/v1/secrets/t{thread}/s{}", written % 40);
                        let answer = put(writer, &path, &json!({"value": written.to_string()}));
                        assert!(matches!(answer.status, 200 | 201), "{}", answer.text);
                        written += 1;
                    }
                    written
                })
            })
            .collect();
        let written: Vec<usize> = writing.into_iter().map(|thread| thread.join().unwrap()).collect();
        ended = ending.join().unwrap();
        written
    });
    assert!(ended >= 2 && written.iter().all(|written| *written > 20), "{ended} {written:?}");
    for (thread, written) in written.iter().enumerate() {
        for number in 0..(*written).min(40) {
            let path = format!("/v1/secrets/t{thread}/s{number}");
            let last = (0..*written).rev().find(|round| round % 40 == number).unwrap();
            assert_eq!(ender.get(&path).expect(200)["value"], last.to_string());
            let versions = ender.get(&format!("{path}/versions")).expect(200);
            for version in versions["items"].as_array().unwrap() {
                ender.get(&format!("{path}?version={}", version["version"])).expect(200);
            }
        }
    }
}

/// What can't be read is left as it is, named, and stands in the way of no other row.
#[test]
fn rows_that_can_not_be_read_are_counted() {
    let cluster = Cluster::start(1, &[]);
    let client = cluster.client(0);
    fill(&client, 0..5);
    let _none = cluster.postgres.psql("UPDATE secrets SET description = 'edited' WHERE owner = 'u3'");
    rotate(&client);
    let stuck = until(super::node_patience(), || {
        let stores = progress(&client);
        (stores["failed"] == 1 && stores["pending"] == 1).then_some(())
    });
    assert!(stuck.is_some(), "{}", progress(&client));
    client.patch("/v1/keys/stores", &json!({"min_decryption_version": 2})).refused(409, "key_state_conflict");
    client.delete("/v1/secrets/u3/s").expect(204);
    client.patch("/v1/keys/stores", &json!({"min_decryption_version": 2})).expect(200);
    check(&client, 0..3);
}
