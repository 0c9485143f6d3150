//! P7 on a real node: whoever edits its log, cuts it off or puts an earlier one in its place is found out.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use claviger_tests::{Node, node};
use serde_json::{Value, json};

use super::wait_until;

/// A node that has stopped, with its keys and checkpoints as anybody may have kept them.
struct Stopped {
    node: Node,
    keys: PathBuf,
    checkpoints: PathBuf,
}

fn claviger(node: &Node, arguments: &[&str]) -> Output {
    let mut command = Command::new(node::binary());
    command.args(arguments).current_dir(node.folder());
    command.env("CLAVIGER_URL", format!("http://{}", node.address())).env("CLAVIGER_TOKEN", node::TOKEN);
    command.output().unwrap()
}

fn stopped() -> Stopped {
    let mut node = Node::with(&[("CLAVIGER_AUDIT__CHECKPOINT_INTERVAL", "1s")]);
    let client = node.client();
    client.post("/v1/keys", &json!({"name": "k", "type": "aes256-gcm"})).expect(201);
    let folder = node.folder().to_owned();
    let keep = |name: &str, what: &str| {
        let printed = claviger(&node, &["audit", what]);
        assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
        fs::write(folder.join(name), printed.stdout).unwrap();
        folder.join(name)
    };
    let keys = keep("keys.json", "keys");
    for _ in 0..50 {
        client.post("/v1/keys/k/encrypt", &json!({"plaintext": "aGk="})).expect(200);
    }
    let seq = |node: &Node| node.records().last().unwrap()["seq"].as_u64().unwrap();
    let written = seq(&node);
    // The database has been told of all of them.
    wait_until(|| {
        let items = client.get("/v1/audit/checkpoints").expect(200)["items"].clone();
        items[0]["seq"].as_u64().is_some_and(|seq| seq >= written)
    });
    let checkpoints = keep("checkpoints", "checkpoints");
    assert!(node.terminate().success());
    Stopped { node, keys, checkpoints }
}

impl Stopped {
    fn log(&self) -> PathBuf {
        self.node.folder().join("data/audit/audit.log")
    }

    fn verify(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let folder = self.node.folder().join("data/audit");
        let mut all = vec!["audit", "verify", folder.to_str().unwrap()];
        all.extend(arguments);
        let done = claviger(&self.node, &all);
        let text = [done.stdout, done.stderr].concat();
        (done.status.code(), String::from_utf8(text).unwrap())
    }

    fn fully(&self) -> (Option<i32>, String) {
        let (keys, checkpoints) = (self.keys.to_str().unwrap(), self.checkpoints.to_str().unwrap());
        self.verify(&["--public-key", keys, "--anchors", checkpoints])
    }
}

#[test]
fn p7_a_log_is_whole_until_somebody_edits_it() {
    let stopped = stopped();
    let (code, text) = stopped.fully();
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(stopped.verify(&[]).0, Some(0));
    let whole = fs::read_to_string(stopped.log()).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let edited = whole.replacen("\"event\":\"encrypt\"", "\"event\":\"decrypt\"", 1);
    let without = [&lines[..20], &lines[21..]].concat().concat();
    let swapped = [&lines[..20], &[lines[21], lines[20]], &lines[22..]].concat().concat();
    let cut = lines[..lines.len() - 1].concat();
    for (what, text) in [("edited", edited), ("without one", without), ("swapped", swapped), ("cut off", cut)]
    {
        fs::write(stopped.log(), text).unwrap();
        let (code, text) = stopped.verify(&[]);
        assert_eq!(code, Some(1), "{what}: {text}");
        assert!(text.contains("audit.log"), "{what}: {text}");
    }
    fs::write(stopped.log(), whole).unwrap();
    assert_eq!(stopped.verify(&[]).0, Some(0));
}

/// With everything in the folder put back to an earlier state nothing in it is wrong, but what is kept elsewhere tells.
#[test]
fn p7_an_earlier_state_is_found_by_what_is_kept_elsewhere() {
    let mut stopped = stopped();
    let folder = stopped.node.folder().join("data/audit");
    let whole = fs::read_to_string(stopped.log()).unwrap();
    let mut lines: Vec<&str> = whole.lines().collect();
    let is_checkpoint = |line: &&str| line.contains("\"event\":\"audit_checkpoint\"");
    lines.pop();
    let last = lines.iter().rposition(is_checkpoint).unwrap();
    lines.truncate(last);
    let last = lines.iter().rposition(is_checkpoint).unwrap();
    lines.truncate(last + 1);
    fs::write(stopped.log(), lines.join("\n") + "\n").unwrap();
    fs::write(folder.join("anchor.json"), lines[last].to_owned() + "\n").unwrap();
    assert_eq!(stopped.verify(&[]).0, Some(0));
    let (code, text) = stopped.fully();
    assert_eq!(code, Some(1), "{text}");
    // The node itself knows as well: it leaves that log alone and begins another one.
    stopped.node.restart();
    wait_until(|| stopped.node.log().contains("the audit log is not what it was"));
    assert!(broken(&folder));
    let verdict = stopped.node.client().post("/v1/audit/verify", &json!({})).expect(200);
    assert_eq!(verdict["valid"], false, "{verdict}");
}

fn broken(folder: &Path) -> bool {
    node::records(folder).iter().any(|record: &Value| record["event"] == "audit_broken")
}
