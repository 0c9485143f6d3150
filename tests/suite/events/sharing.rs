//! Several nodes: whoever made a change, all are told of it.

use std::time::{Duration, Instant};

use claviger_tests::{Listener, Node, Postgres, Redis, cluster, cluster::at_once, listener::Next, process};
use serde_json::json;

use super::{create, rotate};

fn nodes(postgres: &Postgres, redis: Option<&Redis>) -> Vec<Node> {
    let url = redis.map(Redis::url);
    let environment: Vec<(&str, &str)> =
        url.iter().map(|url| ("CLAVIGER_REDIS__URL", url.as_str())).collect();
    let nodes = at_once(3, |node| cluster::node(&postgres.url(), node, &environment));
    if redis.is_some() {
        for node in &nodes {
            crate::cluster::redis::status(node, "connected");
        }
    }
    nodes
}

#[test]
fn what_one_node_does_all_are_told() {
    for with_redis in [true, false] {
        let postgres = Postgres::start();
        let redis = with_redis.then(Redis::start);
        let nodes = nodes(&postgres, redis.as_ref());
        let listeners: Vec<Listener> = nodes.iter().map(|node| Listener::of(node, "?topics=k")).collect();
        create(&nodes[0].client(), "k");
        for (turn, node) in nodes.iter().enumerate() {
            let began = Instant::now();
            let epoch = rotate(&node.client(), "k")["epoch"].as_u64();
            for listener in &listeners {
                let told = listener.event();
                let told = if told.event == "key.created" { listener.event() } else { told };
                assert_eq!((told.event.as_str(), told.id), ("key.rotated", epoch), "turn {turn}");
            }
            let most = if with_redis { Duration::from_secs(2) } else { Duration::from_secs(6) };
            assert!(began.elapsed() < most, "{:?}", began.elapsed());
        }
    }
}

/// A revocation is told on every node with what it is about, which no other column says.
#[test]
fn a_revocation_is_told_on_every_node() {
    let postgres = Postgres::start();
    let nodes = nodes(&postgres, None);
    let listeners: Vec<Listener> =
        nodes.iter().map(|node| Listener::of(node, "?topics=token.revoked")).collect();
    let client = nodes[1].client();
    let subject = "alice-7f3a91";
    client.post("/v1/tokens/revoke", &json!({"subject": subject})).expect(200);
    for listener in &listeners {
        assert_eq!(listener.event().data, json!({"subject": subject, "reauthenticate": true}));
    }
    assert!(!postgres.dump().contains(subject), "the database says whose tokens were revoked");
    let _hidden = postgres.psql("UPDATE revocations SET told = '\\x00'");
    client.post("/v1/tokens/revoke", &json!({"jti": "j-1"})).expect(200);
    for listener in &listeners {
        assert_eq!(listener.event().data, json!({"jti": "j-1"}));
    }
}

/// Sessions of another node are known by what it wrote, as far as it is what a node would have written, and gone when that is.
#[test]
fn presence_of_another_node_is_read_checked_and_forgotten() {
    let (postgres, redis) = (Postgres::start(), Redis::start());
    let hints = redis.url();
    let node = cluster::node(&postgres.url(), 0, &[("CLAVIGER_REDIS__URL", hints.as_str())]);
    let listener = Listener::of(&node, "?topics=presence");
    let written = || {
        let keys = redis.cli(&["KEYS", "claviger:*:presence:*"]);
        (!keys.is_empty()).then_some(keys)
    };
    let own = process::until(process::PATIENCE, written).expect("the node writes its own");
    let lasts: i64 = redis.cli(&["TTL", &own]).parse().unwrap();
    assert!((1..=15).contains(&lasts), "{lasts}");
    let (index, _) = own.rsplit_once(':').unwrap();
    let (boot, conn) = ("01a21515-bbaf-7e68-be10-d83f85b474ef", "6f1d2c3b-0000-4000-8000-000000000001");
    let other = format!("{index}:{boot}");
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis().to_string();
    let session = json!({"connId": conn, "node": "b", "role": "operator", "clientId": "cli", "since": "2026-11-29T00:00:00Z"});
    let write = |revision: &str, fields: &[(&str, &str)]| {
        for (field, value) in fields {
            let _new = redis.cli(&["HSET", &other, field, value]);
        }
        let _new = redis.cli(&["HSET", &other, "revision", revision]);
        let _new = redis.cli(&["ZADD", index, &now, boot]);
    };
    // Names of nodes that are none lead nowhere, and entries that are none are nobody.
    for nonsense in ["x", "../../etc", &format!("{boot}:x")] {
        let _new = redis.cli(&["ZADD", index, &now, nonsense]);
    }
    // Those from a future that never comes keep out nobody.
    for number in 0..100 {
        let _new = redis.cli(&["ZADD", index, "+inf", &format!("01a21515-bbaf-7e68-be10-{number:012}")]);
    }
    let admin = json!({"connId": "6f1d2c3b-0000-4000-8000-000000000002", "node": "b", "role": "admin", "clientId": "x", "since": "2026-11-29T00:00:00Z"});
    let session_text = session.to_string();
    write(
        "1",
        &[
            ("garbage", "[[[["),
            ("6f1d2c3b-0000-4000-8000-000000000002", &admin.to_string()),
            ("6f1d2c3b-0000-4000-8000-000000000003", &session_text),
            (conn, &session_text),
        ],
    );
    let told = listener.event();
    assert_eq!((told.event.as_str(), told.id, &told.data), ("presence", None, &session));
    let mut gone = session.clone();
    gone["gone"] = true.into();
    let _one = redis.cli(&["HDEL", &other, conn]);
    write("2", &[]);
    assert_eq!(listener.event().data, gone);
    write("3", &[(conn, &session_text)]);
    assert_eq!(listener.event().data, session);
    // More than any node would write is not read at all, and nothing is known of its writer.
    let huge = format!("redis.call('HSET', '{other}', 'x', string.rep('x', 64 * 1024 * 1024))");
    let _nil = redis.cli(&["EVAL", &huge, "0"]);
    write("4", &[]);
    assert_eq!(listener.event().data, gone);
    let _one = redis.cli(&["HDEL", &other, "x"]);
    write("5", &[]);
    assert_eq!(listener.event().data, session);
    let _one = redis.cli(&["DEL", &other]);
    assert_eq!(listener.event().data, gone);
    // A hash that is none is not read.
    let _ok = redis.cli(&["SET", &other, "x"]);
    client_serves(&node);
    match listener.next(Duration::from_secs(3)) {
        Next::Told(told) => assert_eq!(told.event, ""),
        Next::Silence => {}
        Next::End => panic!("the stream has ended"),
    }
}

fn client_serves(node: &Node) {
    assert_eq!(node.client().get("/v1/keys").status, 200);
}
