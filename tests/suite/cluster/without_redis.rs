//! Nodes that can't use Redis: one that is cut off from it alone, and servers that are of no use.

use std::time::{Duration, Instant};

use claviger_tests::{Node, Postgres, Proxy, Redis, cluster, node, process};
use serde_json::json;

use super::redis::{LONG, status};

const REDIS: &str = "CLAVIGER_REDIS__URL";
/// What a poll may take, and slack for a busy machine.
const POLL: Duration = Duration::from_secs(2 * 5);

/// What is made on one node is on the other in time, and the other refuses nothing meanwhile.
fn reaches(from: &Node, to: &Node, name: &str) {
    let (from, to) = (from.client(), to.client());
    from.post("/v1/keys", &json!({"name": name, "type": "es256"})).expect(201);
    let token = from.post("/v1/tokens", &json!({"key": name})).expect(201)["token"].clone();
    let began = Instant::now();
    let path = format!("/v1/keys/{name}/versions/1/compromise");
    from.post(&path, &json!({"reason": "drill"})).expect(200);
    let refused = || {
        let verdict = to.post("/v1/tokens/verify", &json!({"token": token})).expect(200);
        (verdict["valid"] == false).then_some(())
    };
    process::until(LONG, refused).expect("the change arrives");
    assert!(began.elapsed() < POLL, "{:?}", began.elapsed());
    to.get("/v1/keys/never-made").refused(404, "key_not_found");
}

/// On a busy machine Redis may take too long for a moment.
fn is_healthy(node: &Node) {
    let client = node.client();
    let healthy = || (client.get("/health").expect(200)["status"] == "healthy").then_some(());
    process::until(LONG, healthy).expect("a healthy node");
}

/// P3: a node that is cut off from Redis only is not stale: it answers everything, hears of changes by its polls, says that it is degraded,
/// and is back by itself.
#[test]
fn p3_a_node_cut_off_from_redis_alone_goes_on() {
    let (postgres, redis) = (Postgres::start(), Redis::start());
    let proxy = Proxy::to(redis.address());
    let (near, far) = (redis.url(), redis.url_via(proxy.port()));
    let other = cluster::node(&postgres.url(), 0, &[(REDIS, &near)]);
    let cut_off = cluster::node(&postgres.url(), 1, &[(REDIS, &far)]);
    for (round, cut) in [Proxy::cut as fn(&Proxy), Proxy::cut_answers, Proxy::reset].into_iter().enumerate() {
        status(&other, "connected");
        status(&cut_off, "connected");
        cut(&proxy);
        status(&cut_off, "lost");
        let client = cut_off.client();
        let health = client.get("/health").expect(200);
        assert_eq!(health["status"], "degraded", "{health}");
        assert_eq!(health["dependencies"]["redis"]["status"], "degraded", "{health}");
        assert_eq!(health["dependencies"]["word_from_database"]["status"], "healthy", "{health}");
        client.get("/readyz").expect(200);
        reaches(&other, &cut_off, &format!("there-{round}"));
        reaches(&cut_off, &other, &format!("back-{round}"));
        is_healthy(&other);
        proxy.heal();
    }
    status(&cut_off, "connected");
    is_healthy(&cut_off);
    reaches(&other, &cut_off, "after");
}

/// The settings can't tell: the server is asked, before anything is written.
#[test]
fn redis_cluster_is_refused_with_a_sentence() {
    let mut redis = Redis::start();
    redis.restart_clustered();
    let url = redis.url();
    let folder = tempfile::tempdir().unwrap();
    let (code, log) = node::refused_start(folder.path(), &[(REDIS, &url)]);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("redis.url") && log.contains("cluster mode") && log.contains("Sentinel"), "{log}");
    assert_eq!(log.lines().count(), 1, "{log}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "something was written");
}

/// A node that has started without Redis stays without when it turns out to be of no use, and says so once.
#[test]
fn a_redis_that_turns_out_to_be_a_cluster_is_left_alone() {
    let mut redis = Redis::start();
    let url = redis.url();
    redis.kill();
    let node = Node::with(&[(REDIS, &url)]);
    let said = || node.log().contains("Redis is not used until it answers").then_some(());
    process::until(LONG, said).expect("why there is no Redis is said");
    redis.restart_clustered();
    let errors = || node.log().lines().filter(|line| line.contains("ERROR")).count();
    process::until(LONG, || (errors() > 0).then_some(())).expect("it is said");
    assert!(node.log().contains("redis.url") && node.log().contains("cluster mode"), "{}", node.log());
    let client = node.client();
    assert_eq!(client.get("/health").expect(200)["dependencies"]["redis"]["status"], "degraded");
    client.post("/v1/keys", &json!({"name": "k", "type": "es256"})).expect(201);
    // It is asked again and again, since another server may take the place.
    let asked = || {
        let clients = redis.cli(&["INFO", "stats"]);
        let line = clients.lines().find(|line| line.starts_with("total_connections_received:"))?;
        line.rsplit(':').next()?.trim().parse::<u64>().ok()
    };
    let begun = asked().unwrap();
    // Each look of ours is one more connection, too.
    let mut looks = 0;
    let again = || {
        looks += 1;
        process::pause(Duration::from_millis(100));
        asked().filter(|now| *now >= begun + looks + 2)
    };
    process::until(LONG, again).expect("it is asked again");
    assert_eq!(errors(), 1, "{}", node.log());
    let commands = redis.cli(&["INFO", "commandstats"]);
    assert!(!commands.contains("xadd") && !commands.contains("xread"), "{commands}");
    redis.restart();
}
