//! Failed attempts are counted on all nodes together.

use std::time::{Duration, Instant};

use claviger_tests::{Answer, Client, Node, Postgres, Redis, cluster, cluster::at_once, process};

use super::redis::{LONG, status};

const LIMIT: usize = 10;
const LIMITED: (&str, &str) = ("CLAVIGER_AUTH__FAILED_ATTEMPTS", "10");
/// So that the tests may come from many addresses.
const PROXIED: (&str, &str) = ("CLAVIGER_AUTH__TRUSTED_PROXIES", "127.0.0.1");
/// What an answer may wait for a Redis that says nothing, and slack for a busy machine.
const SLOW: Duration = Duration::from_secs(3);

/// A client that comes from some address.
struct Attempts {
    clients: Vec<Client>,
    address: String,
}

impl Attempts {
    fn new(nodes: &[Node], address: impl Into<String>) -> Self {
        Self { clients: nodes.iter().map(Node::client).collect(), address: address.into() }
    }

    fn send(&self, client: &Client) -> Answer {
        client.send("GET", "/v1/keys", None, &[("X-Forwarded-For", &self.address)])
    }

    fn pass(&self, node: usize) {
        let began = Instant::now();
        self.send(&self.clients[node]).expect(200);
        assert!(began.elapsed() < SLOW, "{:?}", began.elapsed());
    }

    /// Whether a wrong credential is answered at once that it is no use.
    fn is_locked_out(&self, node: usize) -> bool {
        let answer = self.send(&self.clients[node].with_token(Some("clv_wrong_credential")));
        let seconds: Option<u64> = answer.header("retry-after").parse().ok();
        if answer.status == 401 {
            answer.refused(401, "unauthorized");
            assert_eq!(seconds, None);
            return false;
        }
        answer.refused(429, "rate_limited");
        assert!(seconds.is_some_and(|seconds| (1..=300).contains(&seconds)), "{seconds:?}");
        true
    }

    /// Fails as often as one may, at one node after the other.
    fn spread(&self) {
        for time in 0..LIMIT {
            assert!(!self.is_locked_out(time % self.clients.len()), "{time}");
        }
    }
}

/// Attempts that were counted together. A machine that is too busy for Redis to answer in time counts by itself, which is no fault.
fn together(nodes: &[Node], subnet: u8) -> Attempts {
    let mut host = 0;
    let counted = || {
        host += 1;
        let attempts = Attempts::new(nodes, format!("198.51.{subnet}.{host}"));
        attempts.spread();
        (0..nodes.len()).all(|node| attempts.is_locked_out(node)).then_some(attempts)
    };
    process::until(LONG, counted).expect("failures at all nodes are counted as one")
}

fn start(nodes: usize) -> (Vec<Node>, Redis, Postgres) {
    let (postgres, redis) = (Postgres::start(), Redis::start());
    let (url, hints) = (postgres.url(), redis.url());
    let environment = [("CLAVIGER_REDIS__URL", hints.as_str()), LIMITED, PROXIED];
    let nodes = at_once(nodes, |index| cluster::node(&url, index, &environment));
    nodes.iter().for_each(|node| status(node, "connected"));
    (nodes, redis, postgres)
}

#[test]
fn failures_at_all_nodes_are_counted_as_one_and_outlive_a_restart() {
    let (mut nodes, redis, _postgres) = start(3);
    let _locked = together(&nodes, 1);
    // A node that has seen none of it knows it all the same.
    nodes[2].restart();
    status(&nodes[2], "connected");
    let locked = together(&nodes[..2], 2);
    let restarted = Attempts::new(&nodes, locked.address.clone());
    assert!(restarted.is_locked_out(2));
    nodes[1].restart();
    status(&nodes[1], "connected");
    let restarted = Attempts::new(&nodes, locked.address.clone());
    assert!(restarted.is_locked_out(1), "a restart does not clear it");
    // Another address is another matter, and whoever has a right credential passes from this one too, and is not slowed.
    assert!(!Attempts::new(&nodes, "198.51.3.1").is_locked_out(0));
    (0..3).for_each(|node| restarted.pass(node));
    // It has shown that somebody there is right: what was before is forgotten.
    assert!((0..3).all(|node| !restarted.is_locked_out(node)));
    // Redis is told of no address.
    let seen = redis.dump();
    let seen = String::from_utf8_lossy(&seen);
    assert!(seen.contains(":attempts:"), "{seen}");
    assert!(!seen.contains("198.51."), "{seen}");
}

#[test]
fn without_redis_each_node_counts_by_itself() {
    let (nodes, mut redis, _postgres) = start(3);
    let alone = |address: &str| {
        let attempts = Attempts::new(&nodes, address);
        let began = Instant::now();
        for time in 0..LIMIT {
            assert!(!attempts.is_locked_out(0), "{time}");
        }
        assert!(attempts.is_locked_out(0), "the own count locks out");
        assert!(began.elapsed() < SLOW, "nobody waits for Redis each time: {:?}", began.elapsed());
        assert!(!attempts.is_locked_out(1), "nobody could tell this one");
        attempts.pass(0);
    };
    redis.stop();
    alone("203.0.113.1");
    redis.resume();
    nodes.iter().for_each(|node| status(node, "connected"));
    together(&nodes, 4);
    redis.kill();
    alone("203.0.113.2");
    redis.restart();
    nodes.iter().for_each(|node| status(node, "connected"));
    together(&nodes, 5);
}
