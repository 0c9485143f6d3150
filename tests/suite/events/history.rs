//! Nodes die, Redis comes and goes, readers move from node to node: what they were told is what the change log says.

#![expect(clippy::print_stderr, reason = "whoever reads a failure needs the order of the faults")]

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use claviger_tests::{
    Cluster, Listener, Node, Postgres, Proxy, Redis, cluster,
    cluster::at_once,
    listener::{Next, Told},
    node::TOKEN,
    process,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::json;

use super::{log, seen};

const LONG: Duration = Duration::from_secs(60);
const NODES: usize = 3;
const READERS: usize = 4;
const KEYS: usize = 4;

/// A reader that goes on from the last id that it has got, on whichever node answers, until it has got this far.
fn read(addresses: &[String], mut node: usize, since: u64, until: &AtomicU64) -> Vec<Told> {
    let (mut last, mut mark, mut told) = (since, since.to_string(), Vec::new());
    let mut reconnects = 0_u32;
    loop {
        let opened = Listener::at(&addresses[node % addresses.len()], "", TOKEN, Some(&mark));
        node += 1;
        let Some(Ok(listener)) = opened else {
            process::pause(Duration::from_millis(100));
            continue;
        };
        reconnects += 1;
        loop {
            let goal = until.load(Ordering::Relaxed);
            if goal > 0 && last >= goal {
                eprintln!("a reader has come through {reconnects} connections");
                return told;
            }
            match listener.next(Duration::from_millis(500)) {
                Next::Told(next) => {
                    last = next.id.unwrap_or(last);
                    mark = next.mark.clone().unwrap_or(mark);
                    told.push(next);
                }
                Next::Silence => {}
                Next::End => break,
            }
        }
        // What came of a change that was not complete comes again.
        while told.last().is_some_and(|told: &Told| told.id.is_none() && told.event.starts_with("key.")) {
            told.pop();
        }
    }
}

/// Changes keys on whichever node answers.
fn change(clients: &[claviger_tests::Client], random: &mut StdRng) {
    let client = &clients[random.random_range(0..clients.len())];
    let name = format!("k{}", random.random_range(0..KEYS));
    let body = json!({"force": true, "reason": "drill"});
    let _gone = match random.random_range(0..10) {
        0 => client
            .try_post("/v1/keys", &json!({"name": format!("n{}", random.random::<u32>()), "type": "hs256"})),
        1 => client.try_send(
            "PATCH",
            &format!("/v1/keys/{name}"),
            Some(br#"{"description": "d"}"#.to_vec()),
            &[],
        ),
        2 | 3 => {
            let primary = client.try_send("GET", &format!("/v1/keys/{name}"), None, &[]);
            primary.filter(|answer| answer.status == 200).and_then(|answer| {
                let version = answer.json()["primary_version"].clone();
                let path = format!("/v1/keys/{name}/versions/{version}/compromise");
                client.try_post(&path, &json!({"reason": "drill"}))
            })
        }
        _ => client.try_post(&format!("/v1/keys/{name}/rotate"), &body),
    };
}

fn suffer(nodes: &Mutex<Vec<Node>>, redis: Option<&Mutex<Redis>>, random: &mut StdRng) {
    let held = Duration::from_millis(random.random_range(100..1_500));
    match (random.random_range(0..4), redis) {
        (0, Some(redis)) => {
            eprintln!("Redis is killed for {held:?}");
            let mut redis = redis.lock().unwrap();
            redis.kill();
            process::pause(held);
            redis.restart();
        }
        (1, Some(redis)) => {
            eprintln!("Redis is wiped");
            let _ok = redis.lock().unwrap().cli(&["FLUSHALL"]);
        }
        _ => {
            let node = random.random_range(0..NODES);
            eprintln!("node {node} is killed for {held:?}");
            let mut nodes = nodes.lock().unwrap();
            nodes[node].kill9();
            process::pause(held);
            nodes[node].restart();
        }
    }
}

fn history(with_redis: bool) {
    let long = std::env::var_os("TEST_FULL").is_some();
    let lasts = Duration::from_secs(if long { 300 } else { 30 });
    let pause = Duration::from_millis(if long { 20 } else { 100 });
    let seed = std::env::var("EVENTS_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand::random::<u64>);
    eprintln!("EVENTS_SEED={seed}");
    let postgres = Postgres::start();
    let redis = with_redis.then(|| Mutex::new(Redis::start()));
    let hints = redis.as_ref().map(|redis| redis.lock().unwrap().url());
    let environment: Vec<(&str, &str)> =
        hints.iter().map(|url| ("CLAVIGER_REDIS__URL", url.as_str())).collect();
    let nodes = at_once(NODES, |node| cluster::settled_node(&postgres.url(), node, &environment));
    let addresses: Vec<String> = nodes.iter().map(|node| node.address().to_owned()).collect();
    let clients: Vec<_> = nodes.iter().map(Node::client).collect();
    for key in 0..KEYS {
        super::create(&clients[0], &format!("k{key}"));
    }
    let since: u64 = postgres.psql("SELECT max(epoch) FROM changes").parse().unwrap();
    let (nodes, done, until) = (Mutex::new(nodes), AtomicBool::new(false), AtomicU64::new(0));
    let all = thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|reader| {
                let (addresses, until) = (&addresses, &until);
                scope.spawn(move || read(addresses, reader, since, until))
            })
            .collect();
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                let (clients, done) = (&clients, &done);
                scope.spawn(move || {
                    let mut random = StdRng::seed_from_u64(seed + 1 + writer);
                    while !done.load(Ordering::Relaxed) {
                        change(clients, &mut random);
                        process::pause(pause);
                    }
                })
            })
            .collect();
        let (mut random, began) = (StdRng::seed_from_u64(seed), Instant::now());
        while began.elapsed() < lasts {
            process::pause(Duration::from_millis(random.random_range(500..3_000)));
            suffer(&nodes, redis.as_ref(), &mut random);
        }
        done.store(true, Ordering::Relaxed);
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        // The last change is one that everybody is told of.
        let last = super::rotate(&clients[0], "k0")["epoch"].as_u64().unwrap();
        until.store(last, Ordering::Relaxed);
        readers.into_iter().map(|reader| reader.join().unwrap()).collect::<Vec<_>>()
    });
    let expected = log(&postgres, since);
    eprintln!("{} events", expected.len());
    assert!(expected.len() > 20, "{}", expected.len());
    for told in all {
        assert!(told.iter().all(|told| told.event != "ring.sync"), "nothing was so old");
        let seen = seen(&told);
        let first = seen.iter().zip(&expected).position(|(seen, expected)| seen != expected);
        assert_eq!(seen, expected, "first difference at {first:?}");
    }
}

#[test]
fn the_history_is_the_change_log_with_redis() {
    history(true);
}

#[test]
fn the_history_is_the_change_log_without_redis() {
    history(false);
}

/// Lines that are too old go, and whoever asks for what followed them gets everything there is instead.
#[test]
fn an_epoch_that_is_too_old_is_answered_with_the_whole_ring() {
    let postgres = Postgres::start();
    let node = cluster::node(&postgres.url(), 0, &[]);
    let client = node.client();
    super::create(&client, "k");
    let since: u64 = client.get("/v1/keys/k").header("x-claviger-epoch").parse().unwrap();
    let epochs: Vec<u64> = (0..3).map(|_| super::rotate(&client, "k")["epoch"].as_u64().unwrap()).collect();
    let _pruned = postgres.psql(&format!("DELETE FROM changes WHERE epoch <= {}", epochs[0]));
    let first = |since: u64| {
        let listener = Listener::open(&node, "", TOKEN, Some(since)).unwrap().unwrap();
        let told = listener.event();
        super::rotate(&client, "k");
        (told, listener)
    };
    let (sync, listener) = first(since);
    assert_eq!((sync.event.as_str(), &sync.data["epoch"]), ("ring.sync", &json!(epochs[2])));
    // And then what happens.
    let next = listener.event();
    assert_eq!((next.event.as_str(), next.id), ("key.rotated", Some(epochs[2] + 1)));
    assert_eq!(first(epochs[0]).0.id, Some(epochs[1]));
    // A line that somebody has changed is not told as if it were true.
    let _edited =
        postgres.psql(&format!("UPDATE changes SET key_name = 'other' WHERE epoch = {}", epochs[2]));
    assert_eq!(first(epochs[0]).0.event, "ring.sync");
}

/// A database that has lost changes and went on has another history: whoever has got what was lost is not told that they missed nothing.
#[test]
fn an_id_of_a_history_that_was_lost_is_answered_with_the_whole_ring() {
    let mut cluster = Cluster::start(1, &[]);
    super::create(&cluster.client(0), "k");
    let marks = |cluster: &Cluster, rotations: usize| -> Vec<String> {
        let listener = Listener::of(&cluster.nodes[0], "?topics=key.rotated");
        let client = cluster.client(0);
        let told = (0..rotations).map(|_| listener.event_after(|| drop(super::rotate(&client, "k"))));
        told.map(|told| told.mark.unwrap()).collect()
    };
    let shared = marks(&cluster, 2);
    let early = cluster.postgres.copy_data();
    process::until(LONG, || (cluster.client(0).get("/readyz").status == 200).then_some(())).unwrap();
    let lost = marks(&cluster, 3);
    cluster.nodes[0].kill9();
    cluster.postgres.restore_data(&early);
    cluster.nodes[0].restart();
    let kept = marks(&cluster, 5);
    assert_eq!(lost[0].split('.').next(), kept[0].split('.').next(), "it is the same epoch");
    assert_ne!(lost[0], kept[0]);
    let first = |mark: &str| {
        let listener = Listener::at(cluster.nodes[0].address(), "?topics=key.rotated", TOKEN, Some(mark));
        listener.unwrap().unwrap().event()
    };
    for lost in &lost {
        let told = first(lost);
        assert_eq!((told.event.as_str(), told.mark.as_ref()), ("ring.sync", kept.last()));
    }
    assert_eq!(first(&shared[0]).mark.as_ref(), shared.last());
    assert_eq!(first(&shared[1]).mark.as_ref(), kept.first());
    assert_eq!(first(&kept[1]).mark.as_ref(), Some(&kept[2]));
}

/// A node that can't ask the database does not say that it does not know of a change.
#[test]
fn a_node_that_is_cut_off_sends_whoever_is_ahead_of_it_elsewhere() {
    let postgres = Postgres::start();
    let proxy = Proxy::to(postgres.address());
    let cut_off = cluster::node(&postgres.url_via(proxy.port()), 0, &[]);
    let other = cluster::node(&postgres.url(), 1, &[]);
    super::create(&cut_off.client(), "k");
    let since: u64 = cut_off.client().get("/v1/keys/k").header("x-claviger-epoch").parse().unwrap();
    proxy.reset();
    let epoch = super::rotate(&other.client(), "k")["epoch"].as_u64().unwrap();
    let Some(Err((status, text))) = Listener::open(&cut_off, "", TOKEN, Some(epoch)) else {
        panic!("it can't know")
    };
    assert!(status == 503 && text.contains("stale_node"), "{status} {text}");
    // What it knows it tells.
    assert!(Listener::open(&cut_off, "", TOKEN, Some(since)).unwrap().is_ok());
    proxy.heal();
    let listener = process::until(LONG, || Listener::open(&cut_off, "?topics=k", TOKEN, Some(epoch))?.ok());
    let listener = listener.expect("it knows again");
    let told = listener.event_after(|| drop(super::rotate(&other.client(), "k")));
    assert_eq!((told.event.as_str(), told.id), ("key.rotated", Some(epoch + 1)));
}
