//! The binary as a container runs it: nobody's user, no capability, a tree that can't be written, few processes and files.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
    process::{Child, Command, Stdio},
};

use claviger_tests::{Client, node};
use serde_json::{Value, json};

pub(super) const USER: u32 = 65_532;

/// Puts its first argument, the binary, and its second, the folder with the data, where they are; makes the rest of the tree read-only;
/// takes everything away; runs what is left of its arguments. The data is a mount of its own, so it stays as it was.
const RESTRICT: &str = r#"set -e
mount --bind "$1" "$2/claviger"
mount --bind "$2/data" "$2/data"
mount -o remount,bind,ro /
binary=$2/claviger; cd "$2"; shift 2
exec prlimit --nproc=64:64 --nofile=4096:4096 \
  setpriv --reuid 65532 --regid 65532 --clear-groups --no-new-privs --bounding-set -all --inh-caps -all --ambient-caps -all \
  "$binary" "$@""#;

/// A command of the binary under the restrictions.
fn restricted(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh", "-c", RESTRICT, "restrict"])
        .arg(fs::canonicalize(node::binary()).unwrap())
        .arg(folder)
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// Ends the process whatever becomes of the test.
pub(super) struct Running(pub(super) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// The folder of a deployment that `USER` owns.
pub(super) fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let own = |name: &str, mode: u32| {
        let path = folder.path().join(name);
        chown(&path, Some(USER), Some(USER)).expect("this test needs root");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    fs::create_dir(folder.path().join("data")).unwrap();
    fs::write(folder.path().join("claviger"), "").unwrap();
    for (name, text) in [("master-key", node::MASTER), ("bootstrap-token", node::TOKEN)] {
        fs::write(folder.path().join(name), text).unwrap();
        own(name, 0o400);
    }
    own("data", 0o700);
    own("", 0o700);
    folder
}

/// What the system says of a process that is as restricted as it should be.
fn assert_restricted(pid: u32) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        line.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(field("Uid"), "65532 65532 65532 65532");
    assert_eq!(field("Groups"), "");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!(field("NoNewPrivs"), "1");
    assert!(field("Threads").parse::<u32>().unwrap() < 64);
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let limit = |name: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(limit("Max processes"), ["64", "64"]);
    assert_eq!(limit("Max open files"), ["4096", "4096"]);
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    let root = mounts.lines().rfind(|line| line.split(' ').nth(4) == Some("/")).unwrap();
    assert!(root.split(' ').nth(5).unwrap().split(',').any(|option| option == "ro"), "{root}");
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
    let environment = String::from_utf8_lossy(&environment);
    assert!(!environment.contains(node::MASTER) && !environment.contains(node::TOKEN));
}

/// A node under the restrictions, with its secrets in files, and where it listens.
pub(super) fn start(folder: &Path) -> (Running, String) {
    let mut child = restricted(folder, &["serve"])
        .env("CLAVIGER_SERVER__LISTEN", "127.0.0.1:0")
        .env("CLAVIGER_SERVER__WORKERS", "4")
        .env("CLAVIGER_SEAL__MASTER_KEY_FILE", folder.join("master-key"))
        .env("CLAVIGER_BOOTSTRAP_TOKEN_FILE", folder.join("bootstrap-token"))
        .stdout(Stdio::piped())
        .stderr(fs::File::create(folder.join("stderr")).unwrap())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let node = Running(child);
    let line = output.lines().map_while(Result::ok).find(|line| line.contains("\"listening\""));
    let log = || fs::read_to_string(folder.join("stderr")).unwrap();
    let line = line.unwrap_or_else(|| panic!("the node did not start: {}", log()));
    let event: Value = serde_json::from_str(&line).unwrap();
    let url = format!("http://{}", event["address"].as_str().unwrap());
    (node, url)
}

#[test]
fn a_node_with_nothing_but_its_folder_serves() {
    let folder = folder();
    let (mut node, url) = start(folder.path());
    let log = || fs::read_to_string(folder.path().join("stderr")).unwrap();
    assert_restricted(node.0.id());
    let healthy = restricted(folder.path(), &["healthcheck", "--url", &url]).status().unwrap();
    assert!(healthy.success());

    let client = Client::new(url, Some(node::TOKEN.to_owned()));
    client.post("/v1/keys", &json!({"name": "orders", "type": "aes256-gcm"})).expect(201);
    let sealed = client.post("/v1/keys/orders/encrypt", &json!({"plaintext": "aGVsbG8="})).expect(200);
    client.post("/v1/keys/orders/rotate", &json!({"force": true, "reason": "smoke"})).expect(200);
    let opened =
        client.post("/v1/keys/orders/decrypt", &json!({"ciphertext": sealed["ciphertext"]})).expect(200);
    assert_eq!(opened["plaintext"], "aGVsbG8=");
    let issued = client.post("/v1/tokens", &json!({"subject": "alice", "audience": "shop"})).expect(201);
    let verified = client.post("/v1/tokens/verify", &json!({"token": issued["token"], "audience": "shop"}));
    assert_eq!(verified.expect(200)["valid"], true);

    assert!(Command::new("kill").arg("-TERM").arg(node.0.id().to_string()).status().unwrap().success());
    assert!(node.0.wait().unwrap().success(), "{}", log());
    let audit = folder.path().join("data/audit");
    let verified = restricted(folder.path(), &["audit", "verify", audit.to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stdout);
    assert!(verified.status.success() && said.contains("the audit log is whole"), "{said}");
    assert!(!log().contains("panicked"), "{}", log());
}
