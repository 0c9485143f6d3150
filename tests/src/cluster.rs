//! Nodes that share a database.

use std::thread;

use crate::{Client, Node, Postgres};

/// A database server and nodes on it.
pub struct Cluster {
    /// The server.
    pub postgres: Postgres,
    /// The nodes.
    pub nodes: Vec<Node>,
}

impl Cluster {
    /// Starts so many nodes, all at once, on an empty database.
    #[must_use]
    pub fn start(nodes: usize, environment: &[(&str, &str)]) -> Self {
        let postgres = Postgres::start();
        let url = postgres.url();
        let nodes = at_once(nodes, |index| node(&url, index, environment));
        Self { postgres, nodes }
    }

    /// A client of a node, with the administrator's token.
    #[must_use]
    pub fn client(&self, node: usize) -> Client {
        self.nodes[node].client()
    }

    /// Starts another node.
    #[must_use]
    pub fn join(&self, name: usize, environment: &[(&str, &str)]) -> Node {
        node(&self.postgres.url(), name, environment)
    }
}

/// One node on a database.
#[must_use]
pub fn node(url: &str, name: usize, environment: &[(&str, &str)]) -> Node {
    with(url, name, environment, Node::with)
}

/// One node on a database, which keeps its address when it is started again.
#[must_use]
pub fn settled_node(url: &str, name: usize, environment: &[(&str, &str)]) -> Node {
    with(url, name, environment, Node::settled)
}

fn with(url: &str, name: usize, environment: &[(&str, &str)], start: fn(&[(&str, &str)]) -> Node) -> Node {
    let name = format!("node-{name}");
    let mut all = vec![
        ("CLAVIGER_DATABASE__URL", url),
        ("CLAVIGER_NODE__NAME", &name),
        ("CLAVIGER_SERVER__WORKERS", "2"),
        // Dozens of nodes share one small server.
        ("CLAVIGER_DATABASE__MAX_CONNECTIONS", "5"),
        ("CLAVIGER_SERVER__DRAIN_DELAY", "1s"),
    ];
    all.extend_from_slice(environment);
    start(&all)
}

/// Does the same so many times, all at the same time.
pub fn at_once<T: Send>(times: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let work = &work;
        let running: Vec<_> = (0..times).map(|index| scope.spawn(move || work(index))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}
