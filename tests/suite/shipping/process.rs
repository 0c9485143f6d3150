//! The process itself: what others of the same user can see of it, and what it leaves when it dies.

use std::{
    fs,
    io::Read as _,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Command, Stdio},
};

use claviger_tests::{Node, node, process};

use super::restricted::{self, Running, USER};

/// Whether a process of the service's user can open a file.
fn can_open(path: &str) -> bool {
    let user = USER.to_string();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--bounding-set", "-all"]);
    command.args(["--inh-caps", "-all", "sh", "-c", ": < \"$1\"", "look", path]);
    command.stderr(Stdio::null()).status().unwrap().success()
}

/// A process of that user that keeps nothing to itself.
fn open_process() -> Running {
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid",
        &USER.to_string(),
        "--regid",
        &USER.to_string(),
        "--clear-groups",
        "sleep",
        "600",
    ]);
    Running(command.env("SEEN", "1").spawn().unwrap())
}

#[test]
fn processes_of_the_same_user_can_not_read_it() {
    let folder = restricted::folder();
    let (node, _url) = restricted::start(folder.path());
    let open = open_process();
    let (closed, open) = (node.0.id(), open.0.id());
    // Of one that does not protect itself they can, so the look is worth something.
    for file in ["environ", "maps", "auxv", "mem"] {
        let seen = || can_open(&format!("/proc/{open}/{file}")).then_some(());
        process::until(process::PATIENCE, seen).unwrap_or_else(|| panic!("{file} can't be seen at all"));
        assert!(!can_open(&format!("/proc/{closed}/{file}")), "{file}");
    }
    // Who it is they may know; and with secrets from files there is none in what anybody sees.
    assert!(can_open(&format!("/proc/{closed}/cmdline")));
    for file in ["cmdline", "environ"] {
        let seen = fs::read(format!("/proc/{closed}/{file}")).unwrap();
        let seen = String::from_utf8_lossy(&seen);
        assert!(!seen.contains(node::MASTER) && !seen.contains(node::TOKEN), "{file}");
    }
}

/// A process with a core limit of none, which dies by a signal in a folder of its own: whether a core is left.
fn leaves_a_core(command: &mut Command, folder: &Path, signal: &str) -> bool {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).current_dir(folder).spawn().unwrap();
    let has_begun = child_after_a_word(&mut child);
    let mut running = Running(child);
    assert!(has_begun, "it starts");
    // The first SIGSEGV meets a handler that looks for an overflow of the stack.
    let dies = || {
        let pid = running.0.id().to_string();
        let _sent = Command::new("kill").args([format!("-{signal}"), pid]).status().unwrap();
        running.0.try_wait().unwrap()
    };
    let status = process::until(process::PATIENCE, dies).expect("it dies");
    assert!(status.signal().is_some(), "{status}");
    let left = fs::read_dir(folder)
        .unwrap()
        .any(|entry| entry.unwrap().file_name().to_string_lossy().starts_with("core"));
    status.core_dumped() || left
}

/// It has written something, so it is at work.
fn child_after_a_word(child: &mut std::process::Child) -> bool {
    let mut first = [0];
    child.stdout.as_mut().unwrap().read_exact(&mut first).is_ok()
}

#[test]
fn no_core_is_left_however_it_dies() {
    let unlimited = |program: &str| {
        let mut command = Command::new("prlimit");
        command.args(["--core=unlimited:unlimited", program]);
        command
    };
    let folder = tempfile::tempdir().unwrap();
    let mut open = unlimited("sh");
    open.args(["-c", "echo here; exec sleep 600"]);
    let is_seen = leaves_a_core(&mut open, folder.path(), "ABRT");
    // Where cores go elsewhere, the answer of the system is all there is.
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    assert!(is_seen || pattern.starts_with('|') || pattern.contains('/'), "{pattern}");
    for signal in ["ABRT", "SEGV", "QUIT"] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = unlimited(node::binary().to_str().unwrap());
        command.arg("serve").env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.env("CLAVIGER_SERVER__LISTEN", "127.0.0.1:0");
        assert!(!leaves_a_core(&mut command, folder.path(), signal), "{signal}");
    }
}

/// Beyond nine tenths of the files whoever comes is refused at once, and whoever is there goes on.
#[test]
fn connections_beyond_the_files_are_refused_at_once() {
    const FILES: usize = 600;
    let node = Node::with(&[(node::FILES, &FILES.to_string())]);
    let client = node.client();
    client.get("/v1/keys").expect(200);
    let open: Vec<_> = (0..FILES).map(|_| std::net::TcpStream::connect(node.address()).unwrap()).collect();
    let is_closed = |socket: &std::net::TcpStream| {
        socket.set_nonblocking(true).unwrap();
        matches!((&*socket).read(&mut [0]), Ok(0))
    };
    let refused = || {
        // A connection that was there before goes on.
        client.get("/v1/keys").expect(200);
        (open.iter().filter(|socket| is_closed(socket)).count() >= FILES / 5).then_some(())
    };
    process::until(process::PATIENCE, refused).expect("some are refused");
    let text = client.get("/metrics").text;
    let counted = text.lines().find_map(|line| line.strip_prefix("claviger_connections_refused_total "));
    let counted: usize = counted.unwrap().parse().unwrap();
    assert!((FILES / 5..FILES / 3).contains(&counted), "{counted}");
    drop(open);
    let again =
        || node.client().with_token(None).try_send("GET", "/healthz", None, &[]).map(|answer| answer.status);
    assert_eq!(process::until(process::PATIENCE, again), Some(200));
}
