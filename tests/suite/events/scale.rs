//! Many readers of one node.

#![expect(clippy::print_stderr, reason = "figures are for whoever looks")]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use claviger_tests::{Node, Postgres, Redis, cluster, node::TOKEN};

use super::{create, rotate};

fn subscriber(node: &Node) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(node.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let request =
        format!("GET /v1/events?topics=k HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut reader = BufReader::with_capacity(1_024, stream);
    until(&mut reader, "id: ");
    reader
}

/// Reads lines up to one that begins so.
fn until(reader: &mut BufReader<TcpStream>, beginning: &str) -> String {
    loop {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).unwrap() > 0, "the stream has ended");
        if line.starts_with(beginning) {
            return line;
        }
    }
}

/// A thousand readers on one node, changes on another: each gets each, soon, and none costs much.
#[test]
fn a_thousand_readers_are_told_and_cost_little() {
    const READERS: usize = 1_000;
    let (postgres, redis) = (Postgres::start(), Redis::start());
    let (url, hints) = (postgres.url(), redis.url());
    let nodes =
        cluster::at_once(2, |node| cluster::node(&url, node, &[("CLAVIGER_REDIS__URL", hints.as_str())]));
    nodes.iter().for_each(|node| crate::cluster::redis::status(node, "connected"));
    let client = nodes[0].client();
    create(&client, "k");
    let before = nodes[1].resident_kib();
    let mut readers: Vec<_> = (0..READERS).map(|_| subscriber(&nodes[1])).collect();
    let each = nodes[1].resident_kib().saturating_sub(before) as f64 / READERS as f64;
    let mut took = Vec::new();
    for _ in 0..10 {
        let began = Instant::now();
        let epoch = rotate(&client, "k")["epoch"].as_u64().unwrap();
        for reader in &mut readers {
            // One that was here before its node knew of the key is told of that first.
            while !until(reader, "id: ").starts_with(&format!("id: {epoch}.")) {}
        }
        took.push(began.elapsed());
    }
    took.sort_unstable();
    eprintln!("{each:.1} KiB each; all {READERS} told after {took:?}");
    assert!(each < 40.0, "{each} KiB each");
    assert!(took[took.len() / 2] < Duration::from_secs(2), "{took:?}");
}
