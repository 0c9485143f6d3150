//! Nodes that are replaced one after the other, under load.

#![expect(clippy::print_stderr, reason = "whoever reads a failure needs the figures")]

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use claviger_tests::{Node, Postgres, cluster, cluster::at_once, node::TOKEN, process};
use serde_json::{Value, json};

const NODES: usize = 3;
const LOADERS: usize = 6;
const LONG: Duration = Duration::from_secs(60);

/// The nodes behind a balancer that sends to those that say they are ready, each in turn.
struct Balancer {
    addresses: Vec<String>,
    ready: Vec<AtomicBool>,
    turn: AtomicUsize,
    done: AtomicBool,
    /// Connections that were refused, so that the request went elsewhere.
    refused: AtomicUsize,
}

/// A client with a connection to each node, kept as long as the node keeps it.
struct Caller<'a> {
    balancer: &'a Balancer,
    kept: BTreeMap<usize, TcpStream>,
    answered: usize,
    lost: Vec<String>,
}

/// Status, whether the connection ends, and the body.
type Read = (u16, bool, String);

/// One request on one connection, and nothing that a client library would do on its own: no retry, no pool.
fn exchange(stream: &mut TcpStream, method: &str, path: &str, body: &str) -> Result<Read, String> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: claviger\r\nauthorization: Bearer {TOKEN}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let sent = stream.write_all(format!("{head}{body}").as_bytes());
    sent.map_err(|error| format!("not sent: {error}"))?;
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut chunk).map_err(|error| format!("not answered: {error}"))?;
        if count == 0 {
            return Err(format!("closed after {} bytes of the answer", bytes.len()));
        }
        bytes.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_ascii_lowercase();
        let header = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.find_map(|(found, value)| (found == name).then(|| value.to_owned()))
        };
        let length: usize = header("content-length").map_or(0, |length| length.parse().unwrap());
        if body.len() >= length {
            let status = head.split(' ').nth(1).unwrap().parse().unwrap();
            return Ok((status, header("connection").is_some_and(|value| value == "close"), body.to_owned()));
        }
    }
}

impl Balancer {
    /// Asks each node whether it is ready, ten times a second.
    fn probe(&self, node: usize) {
        while !self.done.load(Ordering::Relaxed) {
            let ready = TcpStream::connect(&self.addresses[node]).is_ok_and(|mut stream| {
                let _bounded = stream.set_read_timeout(Some(LONG));
                exchange(&mut stream, "GET", "/readyz", "").is_ok_and(|(status, ..)| status == 200)
            });
            self.ready[node].store(ready, Ordering::Relaxed);
            process::pause(Duration::from_millis(100));
        }
    }

    fn next(&self) -> usize {
        loop {
            let node = self.turn.fetch_add(1, Ordering::Relaxed) % NODES;
            if self.ready[node].load(Ordering::Relaxed) {
                return node;
            }
            thread::yield_now();
        }
    }
}

impl Caller<'_> {
    /// A connection to whoever's turn it is. Only one that is refused sends a request elsewhere: nobody has seen anything of it.
    fn connection(&mut self) -> (usize, TcpStream, &'static str) {
        loop {
            let node = self.balancer.next();
            let kept = self.kept.remove(&node).filter(|stream| {
                // One that the node has closed meanwhile is no connection.
                stream.set_nonblocking(true).unwrap();
                let open =
                    stream.peek(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
                stream.set_nonblocking(false).unwrap();
                open
            });
            if let Some(stream) = kept {
                return (node, stream, "kept");
            }
            match TcpStream::connect(&self.balancer.addresses[node]) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(LONG)).unwrap();
                    stream.set_nodelay(true).unwrap();
                    return (node, stream, "new");
                }
                Err(_) => self.balancer.refused.fetch_add(1, Ordering::Relaxed),
            };
        }
    }

    /// A request that must be answered with this status.
    fn ask(&mut self, path: &str, body: &Value, expected: u16) -> Value {
        let (node, mut stream, age) = self.connection();
        match exchange(&mut stream, "POST", path, &body.to_string()) {
            Ok((status, is_last, text)) => {
                if !is_last {
                    self.kept.insert(node, stream);
                }
                self.answered += 1;
                if status == expected {
                    return serde_json::from_str(&text).unwrap();
                }
                self.lost.push(format!("node-{node} {path}: {status} {text}"));
            }
            Err(error) => {
                self.lost.push(format!("node-{node} {path}: {error}, on a {age} connection"));
            }
        }
        Value::Null
    }

    fn load(&mut self, loader: usize) {
        let mut round = 0;
        while !self.balancer.done.load(Ordering::Relaxed) {
            round += 1;
            let token = self.ask("/v1/tokens", &json!({"key": "t", "subject": "s"}), 201)["token"].clone();
            if token.is_string() {
                for _ in 0..3 {
                    let verdict = self.ask("/v1/tokens/verify", &json!({"token": token}), 200);
                    if verdict["valid"] == false {
                        self.lost.push(format!("refused: {verdict}"));
                    }
                }
            }
            if loader == 0 && round % 10 == 0 {
                let body = json!({"force": true, "reason": "drill", "consistency": "eventual"});
                self.ask("/v1/keys/t/rotate", &body, 200);
            }
            // A third of the connections are new, as from programs that run once.
            if round % 3 == 0 {
                self.kept.clear();
            }
        }
    }
}

/// P11: while every node is replaced in turn, no request is lost, and none is answered by a failure.
#[test]
fn p11_a_rolling_restart_loses_nothing() {
    let postgres = Postgres::start();
    let url = postgres.url();
    let mut nodes: Vec<Node> = at_once(NODES, |node| cluster::settled_node(&url, node, &[]));
    nodes[0].client().post("/v1/keys", &json!({"name": "t", "type": "es256"})).expect(201);
    let balancer = Balancer {
        addresses: nodes.iter().map(|node| node.address().to_owned()).collect(),
        ready: (0..NODES).map(|_| AtomicBool::new(false)).collect(),
        turn: AtomicUsize::new(0),
        done: AtomicBool::new(false),
        refused: AtomicUsize::new(0),
    };
    let rounds = if std::env::var_os("TEST_FULL").is_some() { 20 } else { 3 };
    let (answered, lost) = thread::scope(|scope| {
        let _done = Done(&balancer.done);
        for node in 0..NODES {
            let balancer = &balancer;
            scope.spawn(move || balancer.probe(node));
        }
        let loaders: Vec<_> = (0..LOADERS)
            .map(|loader| {
                let mut caller =
                    Caller { balancer: &balancer, kept: BTreeMap::new(), answered: 0, lost: Vec::new() };
                scope.spawn(move || {
                    caller.load(loader);
                    (caller.answered, caller.lost)
                })
            })
            .collect();
        for round in 0..rounds {
            for (index, node) in nodes.iter_mut().enumerate() {
                let is_ready = || balancer.ready[index].load(Ordering::Relaxed).then_some(());
                process::until(LONG, is_ready).expect("it is ready");
                let began = Instant::now();
                assert_eq!(node.terminate().code(), Some(0), "node-{index}, round {round}: {}", node.log());
                eprintln!("node-{index} left within {} ms", began.elapsed().as_millis());
                // The balancer has seen that it is gone before it is back.
                let is_gone = || (!balancer.ready[index].load(Ordering::Relaxed)).then_some(());
                process::until(LONG, is_gone).expect("it is not ready");
                node.restart();
            }
        }
        balancer.done.store(true, Ordering::Relaxed);
        loaders.into_iter().map(|loader| loader.join().unwrap()).unzip::<usize, _, Vec<_>, Vec<_>>()
    });
    let answered: usize = answered.iter().sum();
    let lost = lost.concat();
    eprintln!("{answered} answered, {} refused connections", balancer.refused.load(Ordering::Relaxed));
    assert!(lost.is_empty(), "{} of {answered} lost:\n{}", lost.len(), lost.join("\n"));
    assert!(answered > 500, "{answered}");
}

/// Says that it is over, however it ends.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
