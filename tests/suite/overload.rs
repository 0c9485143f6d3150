//! P10: more work than there is time for is refused at once, and whatever is taken on is done in time.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use claviger_tests::{Client, Node, node, process, spread::Times, volume};
use serde_json::json;

/// Clients that a node has time for.
const NORMAL: usize = 4;
/// Many more than it has time for.
const MANY: usize = 64;
/// Whoever was refused asks again after this time, and not after the second that they were told. Without any pause the clients, which share the
/// node's cores, would wait for one another and not for the node.
const PAUSE: Duration = Duration::from_millis(25);
/// Clients that ask for a thousand signatures at a time.
const BATCHES: usize = 4;
/// Machines are noisy.
const SLACK: u32 = 5;

fn sign(client: &Client) -> (u16, Duration) {
    let began = Instant::now();
    let answer = client.post("/v1/keys/slow/sign", &json!({"input": "aGk="}));
    let took = began.elapsed();
    if answer.status != 200 {
        assert!(answer.header("retry-after").parse::<u64>().is_ok(), "{}", answer.text);
        answer.refused(503, "overloaded");
        return (503, took);
    }
    (200, took)
}

/// How long signatures took that so many clients asked for, for a time; and how many were refused.
fn signed(node: &Node, clients: usize, during: Duration, meanwhile: impl FnOnce()) -> (Times, usize) {
    let (times, refused, is_over) = (Mutex::new(Vec::new()), AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..clients {
            let client = node.client();
            scope.spawn(|| {
                let client = client;
                while !is_over.load(Ordering::Relaxed) {
                    match sign(&client) {
                        (200, took) => times.lock().unwrap().push(took),
                        _ => {
                            refused.fetch_add(1, Ordering::Relaxed);
                            process::pause(PAUSE);
                        }
                    }
                }
            });
        }
        let began = Instant::now();
        meanwhile();
        process::pause(during.saturating_sub(began.elapsed()));
        is_over.store(true, Ordering::Relaxed);
    });
    (Times(times.into_inner().unwrap()), refused.into_inner())
}

/// P4: a strong change waits for whoever works on the ring of before, and not for all who stand in line.
#[test]
#[expect(clippy::print_stderr, reason = "the figures are of interest, and the runner keeps them")]
fn p4_a_strong_change_does_not_wait_for_those_who_stand_in_line() {
    let environment =
        [("CLAVIGER_SERVER__INTERNAL_LISTEN", "127.0.0.1:0"), ("CLAVIGER_SERVER__WORKERS", "1")];
    let node = Node::with(&environment);
    let client = node.client();
    client.post("/v1/keys", &json!({"name": "slow", "type": "rs256", "bits": 3072})).expect(201);
    client.post("/v1/keys", &json!({"name": "quick", "type": "aes256-gcm"})).expect(201);
    let (admin, is_over) = (node.internal().with_token(Some(node::TOKEN)), AtomicBool::new(false));
    let issued = AtomicUsize::new(0);
    let times = thread::scope(|scope| {
        for _ in 0..48 {
            let client = node.client();
            let (issued, is_over) = (&issued, &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    match client.post("/v1/tokens", &json!({"key": "slow"})).status {
                        201 => drop(issued.fetch_add(1, Ordering::Relaxed)),
                        _ => process::pause(PAUSE),
                    }
                }
            });
        }
        process::pause(Duration::from_millis(500));
        let body = json!({"force": true, "reason": "drill", "consistency": "strong"});
        let times = (0..40).map(|_| {
            let began = Instant::now();
            let rotated = admin.post("/v1/keys/quick/rotate", &body).expect(200);
            assert_eq!(rotated["lagging"], json!([]));
            began.elapsed()
        });
        let times = Times(times.collect());
        is_over.store(true, Ordering::Relaxed);
        times
    });
    let (few, half) = (times.quantile(0.25), times.quantile(0.5));
    eprintln!("a quarter within {few:?}, half within {half:?}, {} tokens", issued.load(Ordering::Relaxed));
    assert!(issued.into_inner() > 100);
    // The line alone is more than 40 ms long. It is looked at every 25 ms, and whoever is at work then takes but one signature.
    assert!(few < Duration::from_millis(40), "{few:?}");
}

/// What must go on, on the listener of its own: looks, and changes, which wait for a disk too.
#[derive(Default)]
struct Governed {
    looks: Times,
    changes: Times,
}

impl Governed {
    fn look(&mut self, admin: &Client) {
        for path in ["/health", "/metrics"] {
            let began = Instant::now();
            assert_eq!(admin.get(path).status, 200, "{path}");
            self.looks.0.push(began.elapsed());
        }
    }

    fn change(&mut self, admin: &Client) {
        let began = Instant::now();
        let rotated =
            admin.post("/v1/keys/quick/rotate", &json!({"force": true, "reason": "drill"})).expect(200);
        self.changes.0.push(began.elapsed());
        let path = format!("/v1/keys/quick/versions/{}/compromise", rotated["version"].as_u64().unwrap() - 1);
        let began = Instant::now();
        admin.post(&path, &json!({"reason": "drill"})).expect(200);
        self.changes.0.push(began.elapsed());
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "the figures are of interest, and the runner keeps them")]
fn p10_overload_is_refused_and_not_suffered() {
    let node = Node::with(&[("CLAVIGER_SERVER__INTERNAL_LISTEN", "127.0.0.1:0")]);
    let client = node.client();
    let spec = json!({"name": "slow", "type": "rs256", "bits": 4096, "usage": "sign"});
    client.post("/v1/keys", &spec).expect(201);
    client.post("/v1/keys", &json!({"name": "quick", "type": "aes256-gcm"})).expect(201);
    let seconds = Duration::from_secs(volume(30) as u64);
    let (normal, refused) = signed(&node, NORMAL, seconds, || {});
    assert_eq!(refused, 0);

    let admin = node.internal().with_token(Some(node::TOKEN));
    let (is_over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let batch = json!({"batch": vec![json!({"input": "aGk="}); 1_000]});
    let (mut governed, mut memory) = (Governed::default(), 0);
    let (accepted, refused) = thread::scope(|scope| {
        for _ in 0..BATCHES {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let answer = node.client().post("/v1/keys/slow/sign", &batch);
                    match answer.status {
                        200 => drop(served.fetch_add(1, Ordering::Relaxed)),
                        _ => {
                            answer.refused(503, "overloaded");
                            process::pause(PAUSE);
                        }
                    }
                }
            });
        }
        let done = signed(&node, MANY, seconds, || {
            let began = Instant::now();
            while began.elapsed() < seconds {
                governed.look(&admin);
                governed.change(&admin);
                memory = memory.max(node.resident_kib() / 1_024);
                process::pause(Duration::from_millis(100));
            }
        });
        is_over.store(true, Ordering::Relaxed);
        done
    });
    let (usual, now) = (normal.quantile(0.99), accepted.quantile(0.99));
    eprintln!(
        "p99 {usual:?} with {NORMAL} clients, {now:?} with {MANY}; {refused} refused, {} batches; looks within {:?}, changes {:?}; {memory} MiB",
        served.load(Ordering::Relaxed),
        governed.looks.quantile(1.0),
        governed.changes.quantile(0.5),
    );
    assert!(refused > 0);
    assert!(now < usual * 3 * SLACK, "{usual:?}, {now:?}");
    assert!(governed.looks.quantile(0.99) < Duration::from_millis(100) * SLACK, "{:?}", governed.looks);
    // A disk that stalls for seconds, as shared ones do, says nothing of the node.
    assert!(governed.changes.quantile(0.5) < Duration::from_millis(100) * SLACK, "{:?}", governed.changes);
    assert!(memory < 200, "{memory} MiB");
}
