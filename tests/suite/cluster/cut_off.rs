//! Nodes that can't reach the database, and databases that are not what they were.

use std::{
    thread,
    time::{Duration, Instant},
};

use claviger_tests::{Cluster, Node, Postgres, Proxy, cluster, process};
use serde_json::json;

const LONG: Duration = Duration::from_secs(60);

fn stale(node: &Node) -> Option<()> {
    let answer = node.client().post("/v1/random", &json!({"bytes": 1}));
    (answer.status == 503 && answer.json()["code"] == "stale_node").then_some(())
}

/// P4: a node that is cut off from the database refuses work once it can't know what was revoked, says since when, and comes back by itself.
#[test]
fn p4_a_node_cut_off_from_the_database_refuses_and_recovers() {
    let postgres = Postgres::start();
    let proxy = Proxy::to(postgres.address());
    let environment = [("CLAVIGER_CLUSTER__MAX_STALENESS", "3s")];
    let cut_off = cluster::node(&postgres.url_via(proxy.port()), 0, &environment);
    let other = cluster::node(&postgres.url(), 1, &environment);
    let client = cut_off.client();
    client.post("/v1/keys", &json!({"name": "k", "type": "es256"})).expect(201);
    let token = client.post("/v1/tokens", &json!({"key": "k"})).expect(201)["token"].clone();
    let verify = json!({"token": token});
    for cut in [Proxy::cut as fn(&Proxy), Proxy::cut_answers, Proxy::reset] {
        cut(&proxy);
        process::until(LONG, || stale(&cut_off)).expect("the node refuses");
        let refused = client.post("/v1/tokens/verify", &verify).refused(503, "stale_node");
        assert!(refused["since"].is_string(), "{refused}");
        let ready = client.get("/readyz");
        assert!(ready.headers.contains_key("retry-after"));
        ready.refused(503, "stale_node");
        // Verifiers outside go on with the keys that they can fetch, and the process is alive.
        client.get("/.well-known/jwks.json").expect(200);
        client.get("/healthz").expect(200);
        // The others go on, and need not wait for it longer than it can be in the dark.
        let body = json!({"force": true, "reason": "drill"});
        let rotated = other.client().post("/v1/keys/k/rotate", &body).expect(200);
        assert_eq!(rotated["acknowledged_by"], json!(["node-1"]));
        assert_eq!(other.client().post("/v1/tokens/verify", &verify).expect(200)["valid"], true);
        proxy.heal();
        process::until(LONG, || (client.get("/readyz").status == 200).then_some(())).expect("it recovers");
        assert_eq!(client.post("/v1/tokens/verify", &verify).expect(200)["valid"], true);
    }
}

/// P2: a database that has lost changes is known by its head hash, and nobody serves from it.
#[test]
fn p2_a_rewound_database_is_recognised() {
    let mut cluster = Cluster::start(2, &[]);
    let create = |cluster: &Cluster, node: usize, name: &str| {
        cluster.client(node).post("/v1/keys", &json!({"name": name, "type": "aes256-gcm"})).status
    };
    assert_eq!(create(&cluster, 0, "before"), 201);
    let early = cluster.postgres.copy_data();
    process::until(LONG, || (create(&cluster, 0, "after") == 201).then_some(())).expect("it goes on");
    for node in [0, 1] {
        let known = || (cluster.client(node).get("/v1/keys/after").status == 200).then_some(());
        process::until(LONG, known).expect("both know it");
    }
    let late = cluster.postgres.copy_data();
    cluster.postgres.restore_data(&early);
    for node in [0, 1] {
        process::until(LONG, || stale(&cluster.nodes[node])).expect("nobody serves from it");
        assert!(cluster.nodes[node].log().contains("rewound"));
    }
    assert_eq!(create(&cluster, 0, "lost"), 503);
    // Another history of the same length is another history.
    cluster.postgres.restore_data(&late);
    for node in [0, 1] {
        let served = || (cluster.client(node).get("/v1/keys/after").status == 200).then_some(());
        process::until(LONG, served).expect("the right one is served again");
    }
    let _done = cluster.postgres.psql("UPDATE changes SET head_hash = decode(md5('x') || md5('y'), 'hex')");
    assert_eq!(create(&cluster, 0, "next"), 201);
    process::until(LONG, || stale(&cluster.nodes[1])).expect("a log that does not continue is not followed");
}

/// P3: clocks of nodes may differ by minutes; the database's decides.
#[test]
fn p3_clocks_that_differ_by_minutes_do_no_harm() {
    let postgres = Postgres::start();
    let url = postgres.url();
    let start = |offset: i64, name: &str| {
        claviger_tests::clock::node(
            offset,
            &[
                ("CLAVIGER_DATABASE__URL", &url),
                ("CLAVIGER_NODE__NAME", name),
                ("CLAVIGER_SERVER__WORKERS", "2"),
            ],
        )
    };
    let nodes = [start(0, "right"), start(300, "ahead"), start(-300, "behind")];
    for maker in &nodes {
        let body = json!({"subject": "s", "expires_in": "60s"});
        let token = maker.client().post("/v1/tokens", &body).expect(201)["token"].clone();
        for judge in &nodes {
            let verdict = judge.client().post("/v1/tokens/verify", &json!({"token": token})).expect(200);
            assert_eq!(verdict["valid"], true, "{verdict}");
        }
    }
    let view = nodes[1].client().get("/v1/cluster").expect(200);
    let offset = view["database"]["clock_offset_ms"].as_i64().unwrap();
    assert!((-301_000..=-299_000).contains(&offset), "{offset}");
}

/// P3: a node whose change stands in line for longer than a node may be in the dark serves all the while and afterwards, and keeps no
/// other waiting for it: what it does not know is only what it is about to do.
#[test]
fn p3_a_change_that_waits_long_makes_no_node_stale() {
    let cluster = Cluster::start(2, &[("CLAVIGER_CLUSTER__MAX_STALENESS", "3s")]);
    cluster.client(0).post("/v1/keys", &json!({"name": "k", "type": "es256"})).expect(201);
    let standing_in_line = |count| cluster.postgres.until_waiting("wait_event_type = 'Lock'", count);
    let rotates = |node: usize| {
        let body = json!({"force": true, "reason": "drill"});
        cluster.client(node).post("/v1/keys/k/rotate", &body).expect(200)
    };
    let is_served = || cluster.client(1).post("/v1/random", &json!({"bytes": 1})).expect(200);
    thread::scope(|scope| {
        scope.spawn(|| cluster.postgres.hold_ring(2));
        cluster.postgres.until_waiting("wait_event = 'PgSleep'", 1);
        let first = scope.spawn(|| rotates(0));
        standing_in_line(1);
        scope.spawn(|| cluster.postgres.hold_ring(5));
        standing_in_line(2);
        let second = scope.spawn(|| rotates(1));
        standing_in_line(3);
        while !second.is_finished() {
            is_served();
            process::pause(Duration::from_millis(5));
        }
        assert_eq!(first.join().unwrap()["acknowledged_by"], json!(["node-0", "node-1"]));
        assert_eq!(second.join().unwrap()["version"], 3);
    });
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        is_served();
    }
}
