//! The end of a node: its sessions are told, and one that takes nothing holds up nobody.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use claviger_tests::Node;

use super::script;

/// A client that connects, says so, and then does as its name says.
fn client(node: &Node, what: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = script("last.py", node).arg(what).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line.trim(), "ready");
    (child, output)
}

#[test]
fn sessions_are_told_to_come_back_elsewhere() {
    let mut node = Node::start();
    let clients = ["idle", "listening", "silent"].map(|what| client(&node, what));
    let began = Instant::now();
    assert!(node.terminate().success());
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    for (mut child, mut output) in clients {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "1012 service restart");
        child.wait().unwrap();
    }
}

#[test]
fn a_client_that_takes_nothing_does_not_hold_up_the_end() {
    let mut node = Node::start();
    let (mut child, _output) = client(&node, "jammed");
    let began = Instant::now();
    assert!(node.terminate().success());
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    child.kill().unwrap();
    child.wait().unwrap();
}
