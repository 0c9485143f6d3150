//! P1, P2 and P3, attacked on a real process.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use claviger_tests::{Client, Node, volume};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

/// What a node has acknowledged.
#[derive(Default)]
struct Acknowledged {
    versions: Vec<(String, u64, String)>,
    tokens: Vec<Value>,
}

impl Acknowledged {
    /// Creates, rotates and signs until the node goes away.
    fn gather(&mut self, client: &Client, round: usize) {
        let name = format!("k{round}");
        let Some(created) = client.try_post("/v1/keys", &json!({"name": name, "type": "es256"})) else {
            return;
        };
        let kid = created.expect(201)["versions"][1]["kid"].as_str().unwrap().to_owned();
        self.versions.push((name.clone(), 1, kid));
        loop {
            let force = json!({"force": true, "reason": "drill"});
            let Some(rotated) = client.try_post(&format!("/v1/keys/{name}/rotate"), &force) else { return };
            let rotated = rotated.expect(200);
            let kid = rotated["kid"].as_str().unwrap().to_owned();
            self.versions.push((name.clone(), rotated["version"].as_u64().unwrap(), kid));
            let Some(issued) = client.try_post("/v1/tokens", &json!({"key": name})) else { return };
            self.tokens.push(issued.expect(201)["token"].clone());
        }
    }

    fn check(&self, client: &Client) {
        let mut checked = std::collections::BTreeSet::new();
        for (name, version, kid) in &self.versions {
            let page = client.get(&format!("/v1/keys/{name}/versions?limit=1000")).expect(200);
            let versions = page["items"].as_array().unwrap();
            let there = versions.iter().any(|there| there["version"] == *version && there["kid"] == *kid);
            assert!(there, "{name} version {version} is lost");
            if checked.insert(name) {
                let count = |state: &str| versions.iter().filter(|version| version["state"] == state).count();
                assert_eq!(count("active"), 1, "{name}: {versions:?}");
                assert!(count("pre_activation") <= 1);
                let numbers: Vec<u64> =
                    versions.iter().rev().map(|version| version["version"].as_u64().unwrap()).collect();
                assert_eq!(numbers, (1..=versions.len() as u64).collect::<Vec<_>>());
            }
        }
        for token in &self.tokens {
            let verdict = client.post("/v1/tokens/verify", &json!({"token": token})).expect(200);
            assert_eq!(verdict["valid"], true, "{verdict}");
        }
    }
}

/// P1: whatever was acknowledged survives `kill -9` at any moment; 1,000 rounds in the full run.
#[test]
fn p1_no_key_is_lost_by_kill_9() {
    let seed: u64 = rand::random();
    let mut random = StdRng::seed_from_u64(seed);
    let mut node = Node::start();
    let mut rounds = 0;
    for round in 0..volume(1_000) {
        let client = node.client();
        let pid = node.pid();
        let delay = Duration::from_micros(random.random_range(0..40_000));
        let mut acknowledged = Acknowledged::default();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let until = Instant::now() + delay;
                while Instant::now() < until {
                    std::thread::yield_now();
                }
                let killed = std::process::Command::new("kill").arg("-KILL").arg(pid.to_string()).status();
                assert!(killed.unwrap().success());
            });
            acknowledged.gather(&client, round);
        });
        node.restart();
        acknowledged.check(&node.client());
        rounds += 1;
        assert!(!node.log().contains("quarantined"), "seed {seed}, round {round}");
    }
    assert_eq!(rounds, volume(1_000));
}

/// P2: of many rotations at once each makes one version, none is skipped and none is made twice.
#[test]
fn p2_concurrent_rotations_make_one_history() {
    let node = Node::start();
    let client = node.client();
    client.post("/v1/keys", &json!({"name": "k", "type": "hs256"})).expect(201);
    let mut made: Vec<u64> = std::thread::scope(|scope| {
        let rotate = || {
            let answer =
                client.post("/v1/keys/k/rotate", &json!({"force": true, "reason": "drill"})).expect(200);
            answer["version"].as_u64().unwrap()
        };
        let threads: Vec<_> = (0..20).map(|_| scope.spawn(rotate)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    made.sort_unstable();
    assert_eq!(made, (2..22).collect::<Vec<_>>());
}

/// P3: 50 rotations under concurrent signing, verifying, encrypting and decrypting; nothing fails.
#[test]
fn p3_nothing_fails_to_verify_during_rotations() {
    let node = Node::start();
    let client = node.client();
    client.post("/v1/keys", &json!({"name": "t", "type": "es256"})).expect(201);
    client.post("/v1/keys", &json!({"name": "d", "type": "aes256-gcm"})).expect(201);
    let (done, uses) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut made: Vec<(Value, Value)> = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    let token = client.post("/v1/tokens", &json!({"key": "t"})).expect(201)["token"].clone();
                    let sealed =
                        client.post("/v1/keys/d/encrypt", &json!({"plaintext": "aGVsbG8="})).expect(200);
                    made.push((token, sealed["ciphertext"].clone()));
                    for (token, ciphertext) in made.iter().rev().take(1).chain(made.first()) {
                        let verdict = client.post("/v1/tokens/verify", &json!({"token": token})).expect(200);
                        assert_eq!(verdict["valid"], true, "{verdict}");
                        let opened =
                            client.post("/v1/keys/d/decrypt", &json!({"ciphertext": ciphertext})).expect(200);
                        assert_eq!(opened["plaintext"], "aGVsbG8=");
                        uses.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let force = json!({"force": true, "reason": "drill"});
        for _ in 0..50 {
            client.post("/v1/keys/t/rotate", &force).expect(200);
            client.post("/v1/keys/d/rotate", &force).expect(200);
            let before = uses.load(Ordering::Relaxed);
            super::keys::wait_until(|| uses.load(Ordering::Relaxed) > before);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(client.get("/v1/keys/t").expect(200)["primary_version"], 51);
    assert!(uses.load(Ordering::Relaxed) >= 50);
}
