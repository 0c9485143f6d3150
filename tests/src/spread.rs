//! How long a change takes to be everywhere.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{Client, Node, Postgres, Redis, cluster, cluster::at_once, process};

/// Longest that anybody waits for a change to be seen.
const PATIENCE: Duration = Duration::from_secs(30);

/// Nodes with Redis.
pub struct Spread {
    nodes: Vec<Node>,
    clients: Vec<Client>,
    /// Their Redis.
    pub redis: Redis,
    /// Their database.
    pub postgres: Postgres,
}

/// What was measured, each in order of size.
#[derive(Debug, Clone, Default)]
pub struct Times(pub Vec<Duration>);

impl Times {
    /// The time that this share of all stays below.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let mut times = self.0.clone();
        times.sort_unstable();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let index = ((times.len() as f64 * share).ceil() as usize).clamp(1, times.len());
        times[index - 1]
    }
}

impl Spread {
    /// Starts nodes and makes keys to rotate.
    #[must_use]
    pub fn start(nodes: usize, keys: usize) -> Self {
        let (postgres, redis) = (Postgres::durable(), Redis::start());
        let (url, hints) = (postgres.url(), redis.url());
        let nodes = at_once(nodes, |index| cluster::node(&url, index, &[("CLAVIGER_REDIS__URL", &hints)]));
        let clients: Vec<Client> = nodes.iter().map(Node::client).collect();
        for client in &clients {
            let connected =
                || (client.get("/v1/cluster").expect(200)["redis"]["status"] == "connected").then_some(());
            process::until(PATIENCE, connected).expect("Redis is reached");
        }
        for key in 0..keys {
            let key_type = if key % 2 == 0 { "aes256-gcm" } else { "es256" };
            clients[0].post("/v1/keys", &json!({"name": format!("k{key}"), "type": key_type})).expect(201);
        }
        Self { nodes, clients, redis, postgres }
    }

    /// Number of nodes.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    fn rotate(&self, index: usize, key: usize, consistency: &str) -> Value {
        let body = json!({"force": true, "reason": "drill", "consistency": consistency});
        self.clients[index % self.clients.len()].post(&format!("/v1/keys/k{key}/rotate"), &body).expect(200)
    }

    /// Strong rotations of each key, by one node after the other: how long each took to be answered, and how many nodes lagged.
    #[must_use]
    pub fn strong(&self, keys: usize) -> (Times, usize) {
        let (mut times, mut lagging) = (Times::default(), 0);
        for key in 0..keys {
            let began = Instant::now();
            let answer = self.rotate(key, key, "strong");
            times.0.push(began.elapsed());
            lagging += answer["lagging"].as_array().unwrap().len();
        }
        (times, lagging)
    }

    /// Eventual rotations: how long until the last node showed the new primary, counted from the answer.
    #[must_use]
    pub fn eventual(&self, keys: usize) -> Times {
        let mut times = Times::default();
        for key in 0..keys {
            let answer = self.rotate(key, key, "eventual");
            let began = Instant::now();
            for client in &self.clients {
                let path = format!("/v1/keys/k{key}");
                let seen = || {
                    let shown = client.get(&path).expect(200);
                    (shown["primary_version"].as_u64() >= answer["version"].as_u64()).then_some(())
                };
                process::until(PATIENCE, seen).expect("the change is seen");
            }
            times.0.push(began.elapsed());
        }
        times
    }

    /// Versions marked compromised: how long after the answer the last node still verified a token of one.
    #[must_use]
    pub fn revoked(&self, keys: impl Iterator<Item = usize>) -> Times {
        let mut times = Times::default();
        for key in keys {
            let issued = self.clients[0].post("/v1/tokens", &json!({"key": format!("k{key}")})).expect(201);
            let token = json!({"token": issued["token"]});
            let shown = self.clients[0].get(&format!("/v1/keys/k{key}")).expect(200);
            let path = format!("/v1/keys/k{key}/versions/{}/compromise", shown["primary_version"]);
            self.clients[key % self.clients.len()].post(&path, &json!({"reason": "drill"})).expect(200);
            let began = Instant::now();
            for client in &self.clients {
                let refused = || {
                    let verdict = client.post("/v1/tokens/verify", &token).expect(200);
                    (verdict["valid"] == false).then_some(())
                };
                process::until(PATIENCE, refused).expect("the version is refused");
            }
            times.0.push(began.elapsed());
        }
        times
    }
}
