//! Disks that fill up, hang, go away or are taken away: a use of a key is refused, nothing else is, and it goes on by itself.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use claviger_tests::{Client, Node};
use serde_json::{Value, json};

use super::{disks::Disk, wait_until};

const AUDIT: &str = "CLAVIGER_AUDIT__DIR";

fn node_on(disk: &Disk) -> Node {
    Node::with(&[(AUDIT, &disk.audit()), ("CLAVIGER_AUDIT__WRITE_TIMEOUT", "1s")])
}

fn encrypt(client: &Client, number: usize) -> claviger_tests::client::Answer {
    let body = json!({"plaintext": "aGVsbG8="});
    client.send(
        "POST",
        "/v1/keys/k/encrypt",
        Some(body.to_string().into_bytes()),
        &[("X-Request-Id", &format!("r-{number}"))],
    )
}

/// Every request that was answered with success is in the log, and the log is whole.
fn check(folder: &Path, answered: &[usize]) {
    let mut recorded = std::collections::BTreeSet::new();
    for (index, record) in claviger_tests::node::records(folder).into_iter().enumerate() {
        assert_eq!(record["seq"], index + 1, "{record}");
        if record["outcome"] == "ok" {
            recorded.extend(record["request_id"].as_str().map(str::to_owned));
        }
    }
    for number in answered {
        assert!(
            recorded.contains(&format!("r-{number}")),
            "request {number} was answered and is not on record"
        );
    }
}

/// The state of the audit log, as `/health` has it, and the status of the answer.
fn health(client: &Client) -> (u16, Value) {
    let answer = client.get("/health");
    (answer.status, answer.json()["dependencies"]["audit_log"]["status"].clone())
}

/// What must go on while the log can't be written.
fn is_still_governed(client: &Client, version: u32) {
    client.post(&format!("/v1/keys/k/versions/{version}/suspend"), &json!({"reason": "drill"})).expect(200);
    assert_eq!(client.get("/.well-known/jwks.json").status, 200);
    assert_eq!(client.get("/healthz").status, 200);
}

#[test]
fn p6_a_full_disk_stops_uses_and_nothing_else() {
    let disk = Disk::small(256);
    let node = node_on(&disk);
    let client = node.client();
    client.post("/v1/keys", &json!({"name": "k", "type": "aes256-gcm"})).expect(201);
    let mut answered = Vec::new();
    let mut number = 0;
    let mut send = |answered: &mut Vec<usize>| {
        number += 1;
        let answer = encrypt(&client, number);
        match answer.status {
            200 => answered.push(number),
            _ => {
                assert!(answer.header("retry-after").parse::<u64>().is_ok());
                answer.refused(503, "audit_unavailable");
                return false;
            }
        }
        true
    };
    assert!(send(&mut answered));
    // It fills up by itself.
    while send(&mut answered) {}
    assert!(answered.len() > 100, "{}", answered.len());
    assert_eq!(health(&client), (503, json!("unhealthy")));
    is_still_governed(&client, 1);
    check(Path::new(&disk.audit()), &answered);
}

#[test]
fn p6_once_there_is_room_it_goes_on() {
    let disk = Disk::small(512);
    let node = node_on(&disk);
    let client = node.client();
    client.post("/v1/keys", &json!({"name": "k", "type": "aes256-gcm"})).expect(201);
    let mut answered = Vec::new();
    let mut number = 0;
    for _ in 0..5 {
        number += 1;
        encrypt(&client, number).expect(200);
        answered.push(number);
        disk.fill();
        // What is left of the last page may still do for a few.
        let mut refused = 0;
        while refused < 3 {
            number += 1;
            let answer = encrypt(&client, number);
            if answer.status == 200 {
                answered.push(number);
            } else {
                answer.refused(503, "audit_unavailable");
                refused += 1;
            }
        }
        disk.make_room();
        wait_until(|| health(&client) == (200, json!("healthy")));
        number += 1;
        encrypt(&client, number).expect(200);
        answered.push(number);
    }
    check(Path::new(&disk.audit()), &answered);
}

#[test]
fn p6_a_folder_that_can_only_be_read_is_noticed_and_comes_back() {
    let disk = Disk::freezable();
    let node = node_on(&disk);
    let client = node.client();
    client.post("/v1/keys", &json!({"name": "k", "type": "aes256-gcm"})).expect(201);
    let sealed = encrypt(&client, 1).expect(200)["ciphertext"].clone();
    let put = |name: &str, body: &Value| {
        client.send("PUT", &format!("/v1/secrets/alice/{name}"), Some(body.to_string().into_bytes()), &[])
    };
    disk.lock_folder();
    for number in 2..6 {
        encrypt(&client, number).refused(503, "audit_unavailable");
    }
    // A change that uses a key on the side is a use too.
    let taken_in = json!({"ciphertext": sealed, "key": "k"});
    put("a", &taken_in).refused(503, "audit_unavailable");
    put("b", &json!({"value": "in clear"})).expect(201);
    assert_eq!(health(&client), (503, json!("unhealthy")));
    is_still_governed(&client, 1);
    disk.unlock_folder();
    wait_until(|| health(&client) == (200, json!("healthy")));
    encrypt(&client, 100).expect(200);
    let records = claviger_tests::node::records(Path::new(&disk.audit()));
    assert!(records.iter().any(|record| record["request_id"] == "r-100"));
    assert!(records.iter().any(|record| record["event"] == "audit_resumed"));
}

#[test]
fn p6_a_file_that_is_deleted_or_replaced_costs_one_answer() {
    let node = Node::start();
    let client = node.client();
    client.post("/v1/keys", &json!({"name": "k", "type": "aes256-gcm"})).expect(201);
    let folder = node.folder().join("data/audit");
    let current = folder.join("audit.log");
    type Damage = fn(&Path);
    let damages: [Damage; 4] = [
        |file| std::fs::remove_file(file).unwrap(),
        |file| std::fs::write(file, b"").unwrap(),
        |file| {
            std::fs::remove_file(file).unwrap();
            std::fs::create_dir(file).unwrap();
        },
        |file| std::fs::remove_dir_all(file.parent().unwrap()).unwrap(),
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        encrypt(&client, number).expect(200);
        damage(&current);
        // It looks by itself now and then; whoever comes first is told.
        let first = encrypt(&client, 100 + number);
        if first.status != 200 {
            first.refused(503, "audit_unavailable");
        }
        wait_until(|| health(&client) == (200, json!("healthy")));
        encrypt(&client, 200 + number).expect(200);
        let records = node.records();
        assert!(records.iter().any(|record| record["event"] == "audit_lost"));
        assert!(records.iter().any(|record| record["request_id"] == format!("r-{}", 200 + number)));
        assert!(node.log().contains("deleted, replaced or edited"));
    }
}

#[test]
fn p6_a_disk_that_hangs_holds_nobody_up() {
    let disk = Disk::freezable();
    let node = node_on(&disk);
    let client = node.client();
    client.post("/v1/keys", &json!({"name": "k", "type": "aes256-gcm"})).expect(201);
    encrypt(&client, 1).expect(200);
    disk.freeze();
    let began = Instant::now();
    encrypt(&client, 2).refused(503, "audit_unavailable");
    let took = began.elapsed();
    assert!((Duration::from_millis(900)..Duration::from_secs(5)).contains(&took), "{took:?}");
    for number in 3..50 {
        encrypt(&client, number).refused(503, "audit_unavailable");
    }
    assert!(began.elapsed() - took < Duration::from_secs(2), "whoever comes later does not wait");
    assert_eq!(health(&client), (503, json!("unhealthy")));
    let began = Instant::now();
    is_still_governed(&client, 1);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    disk.thaw();
    wait_until(|| health(&client) == (200, json!("healthy")));
    client.post("/v1/keys/k/versions/1/resume", &json!({"reason": "drill"})).expect(200);
    client.post("/v1/keys/k/rotate", &json!({"force": true, "reason": "drill"})).expect(200);
    encrypt(&client, 100).expect(200);
    check(Path::new(&disk.audit()), &[1, 100]);
}
