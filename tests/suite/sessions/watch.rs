//! `claviger watch`, run as its users run it.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStderr, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use claviger_tests::{Node, Postgres, cluster, cluster::at_once, node, process};
use serde_json::{Value, json};

use super::{LONG, url};
use crate::events::{self, Seen};

struct Watch {
    child: Child,
    lines: Receiver<String>,
    errors: ChildStderr,
}

fn start(url: &str, token: &str, arguments: &[&str]) -> Child {
    Command::new(node::binary())
        .arg("watch")
        .args(arguments)
        .env_clear()
        .envs([("CLAVIGER_URL", url), ("CLAVIGER_TOKEN", token)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

impl Watch {
    fn over(url: &str, arguments: &[&str]) -> Self {
        let mut child = start(url, node::TOKEN, arguments);
        let (output, errors) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                let _gone = sender.send(line.unwrap());
            }
        });
        Self { child, lines, errors }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(LONG).expect("a line comes")
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }

    fn interrupt(&self) {
        let sent = Command::new("kill").arg("-INT").arg(self.child.id().to_string()).status().unwrap();
        assert!(sent.success());
    }

    /// The exit code, and what it said on standard error.
    fn end(mut self) -> (Option<i32>, String) {
        let code = ended(&mut self.child);
        let mut said = String::new();
        self.errors.read_to_string(&mut said).unwrap();
        (code, said)
    }
}

/// Waits for the end by itself; whoever does not come to it is ended.
fn ended(child: &mut Child) -> Option<i32> {
    let code = process::until(LONG, || child.try_wait().unwrap());
    if code.is_none() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    code.expect("it ends by itself").code()
}

/// The event that a line tells of.
fn seen(line: &Value) -> Seen {
    let payload = &line["payload"];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let version = payload["version"].as_u64().unwrap();
    (line["epoch"].as_u64().unwrap(), text(&line["event"]), text(&payload["name"]), version)
}

fn epoch(node: &Node) -> u64 {
    node.client().get("/v1/keys").header("x-claviger-epoch").parse().unwrap()
}

#[test]
fn events_are_printed_as_they_come_until_it_is_interrupted() {
    let node = Node::start();
    let since = epoch(&node).to_string();
    let client = node.client();
    events::create(&client, "k");
    events::create(&client, "other");
    let json = Watch::over(&url(&node), &["--topic", "k", "--since", &since, "--json"]);
    let plain = Watch::over(&url(&node), &["--topic", "k", "--since", &since]);
    let created = json.json();
    assert_eq!((&created["event"], &created["payload"]["name"]), (&json!("key.created"), &json!("k")));
    assert_eq!(created["since"].as_u64(), created["epoch"].as_u64().map(|epoch| epoch - 1));
    let text = plain.line();
    assert!(text.starts_with(&format!("{} key.created name=k version=1 kid=", created["epoch"])), "{text}");
    let rotated = events::rotate(&client, "k");
    let told = json.json();
    assert_eq!((&told["epoch"], &told["payload"]["kid"]), (&rotated["epoch"], &rotated["kid"]));
    assert!(plain.line().contains(" key.rotated name=k version=2 "));
    for watch in [json, plain] {
        watch.interrupt();
        let (code, said) = watch.end();
        assert_eq!(code, Some(0), "{said}");
        assert!(said.starts_with("claviger: connected to ") && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn a_reader_that_has_had_enough_is_a_good_end_and_one_that_reads_nothing_holds_up_no_signal() {
    let node = Node::start();
    let client = node.client();
    events::create(&client, "k");
    let mut child = start(&url(&node), node::TOKEN, &["--topic", "k", "--since", "0"]);
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert!(line.contains(" ring.sync "), "{line}");
    drop(output);
    events::rotate(&client, "k");
    assert_eq!(ended(&mut child), Some(0));

    // Events that no pipe holds, and a reader that takes none of them.
    let reason = "r".repeat(500);
    let since = epoch(&node).to_string();
    for _ in 0..200 {
        let body = json!({"force": true, "reason": reason});
        client.post("/v1/keys/k/rotate", &body).expect(200);
    }
    let mut child = start(&url(&node), node::TOKEN, &["--json", "--since", &since]);
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    errors.read_line(&mut said).unwrap();
    process::pause(Duration::from_millis(500));
    let sent = Command::new("kill").arg("-INT").arg(child.id().to_string()).status().unwrap();
    assert!(sent.success());
    assert_eq!(ended(&mut child), Some(0), "{said}");
}

#[test]
fn whoever_is_not_let_in_is_told_why_in_one_line() {
    let node = Node::start();
    let mut child = start(&url(&node), "clv_AAAAAAAAAAAAAAAAAAAAAA_hunter2", &["--json"]);
    assert_eq!(ended(&mut child), Some(1));
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.starts_with("claviger: unauthorized: ") && said.lines().count() == 1, "{said}");
    assert!(!said.contains("hunter2"));
    let mut child = start("http://192.0.2.1:1", node::TOKEN, &[]);
    assert_eq!(ended(&mut child), Some(1));
}

/// Nodes die and come back, and it moves between them: what it prints is the change log, in order, each event once.
#[test]
fn what_is_printed_is_the_change_log_whichever_nodes_die() {
    let postgres = Postgres::start();
    let mut nodes = at_once(2, |name| cluster::settled_node(&postgres.url(), name, &[]));
    let clients: Vec<_> = nodes.iter().map(Node::client).collect();
    events::create(&clients[0], "k");
    let since: u64 = postgres.psql("SELECT max(epoch) FROM changes").parse().unwrap();
    let (text, other) = (since.to_string(), url(&nodes[1]));
    let watch = Watch::over(&url(&nodes[0]), &["--json", "--since", &text, "--fallback-url", &other]);
    let mut told = Vec::new();
    let mut last = since;
    for round in 0..4 {
        let (dies, lives) = (round % 2, (round + 1) % 2);
        for _ in 0..5 {
            last = events::rotate(&clients[lives], "k")["epoch"].as_u64().unwrap();
        }
        nodes[dies].kill9();
        let version = clients[lives].get("/v1/keys/k").json()["primary_version"].as_u64().unwrap();
        last = last.max(events::compromise(&clients[lives], "k", version)["epoch"].as_u64().unwrap());
        nodes[dies].restart();
        // It has come through this round, wherever it was connected.
        while told.last().is_none_or(|(epoch, ..): &Seen| *epoch < last) {
            let line = watch.json();
            if line["event"].as_str().is_some_and(|event| event.starts_with("key.")) {
                told.push(seen(&line));
            }
        }
    }
    last = events::rotate(&clients[0], "k")["epoch"].as_u64().unwrap();
    while told.last().is_none_or(|(epoch, ..)| *epoch < last) {
        let line = watch.json();
        if line["event"].as_str().is_some_and(|event| event.starts_with("key.")) {
            told.push(seen(&line));
        }
    }
    watch.interrupt();
    let (code, said) = watch.end();
    assert_eq!(code, Some(0));
    assert!(said.matches("trying again in ").count() > 0, "{said}");
    assert_eq!(told, events::log(&postgres, since));
}
