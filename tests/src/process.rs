//! Servers that are not ours: found, started on a port of their own, and ended whatever becomes of the test.

use std::{
    fs::{self, File},
    io::Write as _,
    net::TcpStream,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

/// How long a server may take to start, to stop or to notice.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for the guard's input to end, which it does when the process of the tests dies without dropping anything.
/// Then it kills the server, its children too, since a stopped child would not notice that its parent is gone.
const GUARD: &str = r#"read -r _ && exit
children=$(grep -lsx "PPid:.$1" /proc/[0-9]*/status | cut -d/ -f3)
kill -KILL "$1" $children
rm -rf "$2""#;

/// Asks until there is an answer, and gives up after a while.
pub fn until<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        let late = start.elapsed() > limit;
        let answer = ask();
        if answer.is_some() || late {
            return answer;
        }
        pause(Duration::from_millis(10));
    }
}

/// Time passes.
pub fn pause(duration: Duration) {
    let end = Instant::now() + duration;
    // Parking may end early.
    while let Some(rest) = end.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero()) {
        thread::park_timeout(rest);
    }
}

/// A program of the machine; it fails the test, and says what to do, when there is none.
pub(crate) fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} is not installed; run `make tools`"))
}

/// A command that sees nothing of the shell's environment but `PATH`.
pub(crate) fn command(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("LC_ALL", "C.UTF-8");
    command
}

/// The same for a client, which must not hang for ever on a server that does not answer.
pub(crate) fn client(program: impl AsRef<Path>) -> Command {
    let mut client = command("timeout");
    client.args(["-k", "5"]).arg(PATIENCE.as_secs().to_string()).arg(program.as_ref());
    client
}

/// What a command printed, or what it said when it failed.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?} can't be run: {error}"));
    let out = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        return Ok(out.into_owned());
    }
    Err(format!("{command:?}: {}: {out}{}", output.status, String::from_utf8_lossy(&output.stderr)))
}

/// What a command printed; one that fails fails the test.
pub(crate) fn run(command: &mut Command) -> String {
    output(command).unwrap_or_else(|error| panic!("{error}"))
}

/// A port of 127.0.0.1 that stays this test's, also while nothing listens on it.
///
/// It lies below those that the kernel hands out, so that no connection of another test sits on it when a server comes back.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// A free one.
    pub(crate) fn free() -> Self {
        static TRIED: AtomicU32 = AtomicU32::new(0);
        const FIRST: u32 = 10_000;
        const COUNT: u32 = 22_000;
        let locks = std::env::temp_dir().join(format!("claviger-ports-{}", user()));
        fs::create_dir_all(&locks).unwrap();
        for _ in 0..COUNT {
            // Processes begin far from each other; the lock is what keeps them apart.
            let tried = TRIED.fetch_add(1, Ordering::Relaxed) + std::process::id().wrapping_mul(37);
            let number = u16::try_from(FIRST + tried % COUNT).unwrap();
            let lock = File::create(locks.join(number.to_string())).unwrap();
            // Not tried by listening: a process that is being forked just then would keep the socket for a moment.
            if lock.try_lock().is_ok() && TcpStream::connect(("127.0.0.1", number)).is_err() {
                return Self { number, _lock: lock };
            }
        }
        panic!("no port is free");
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}

/// The user that runs the tests.
pub(crate) fn user() -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").unwrap().uid()
}

/// A running server and the guard that ends it should the process of the tests be killed.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    guard: Child,
}

impl Server {
    /// Starts a server that writes to a log; the guard removes its folder.
    pub(crate) fn spawn(command: &mut Command, log: &Path, folder: &Path) -> Self {
        let log = File::options().append(true).create(true).open(log).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        // In groups of their own, neither gets what the terminal or the test runner sends to the tests.
        let child = command.process_group(0).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?} can't be run: {error}"));
        let mut guard = self::command("sh");
        guard.args(["-c", GUARD, "guard"]).arg(child.id().to_string()).arg(folder).process_group(0);
        let guard = guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let guard = guard.unwrap_or_else(|error| {
            let _gone = child.kill();
            panic!("sh can't be run: {error}")
        });
        Self { child, guard }
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// SIGSTOP to it and its children; nothing of it runs any more when this returns.
    pub(crate) fn stop(&self) {
        // First the one that starts others, so that none is missed.
        stop(&[self.pid()]);
        stop(&children(self.pid()));
    }

    /// SIGCONT to it and its children.
    pub(crate) fn resume(&self) {
        let mut all = children(self.pid());
        all.push(self.pid());
        signal("CONT", &all);
    }

    /// Ends it by a signal, stopped or not, or by SIGKILL should that not help.
    pub(crate) fn end(mut self, name: &str) {
        // Whatever is stopped must not go on before the signal has reached it.
        let mut all = children(self.pid());
        let stopped: Vec<u32> =
            all.iter().copied().filter(|pid| matches!(stat(*pid), Some(('T', _)))).collect();
        all.push(self.pid());
        signal(name, &[self.pid()]);
        signal(name, &stopped);
        signal("CONT", &all);
        let _late = until(PATIENCE / 2, || self.has_ended().then_some(()));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its id may be another's as soon as it has been waited for.
        if matches!(self.child.try_wait(), Ok(None)) {
            let children = children(self.child.id());
            let _gone = self.child.kill();
            signal("KILL", &children);
            let _reaped = self.child.wait();
        }
        let _gone = self.guard.stdin.take().map(|mut stdin| stdin.write_all(b"\n"));
        let _reaped = self.guard.wait();
    }
}

/// SIGSTOP; nothing of the processes runs any more when this returns.
pub(crate) fn stop(pids: &[u32]) {
    signal("STOP", pids);
    let stopped = until(PATIENCE, || {
        pids.iter().all(|pid| matches!(stat(*pid), None | Some(('T' | 't' | 'Z' | 'X', _)))).then_some(())
    });
    stopped.expect("a process that does not stop");
}

/// Sends a signal; a process that is gone is none to complain of.
pub(crate) fn signal(name: &str, pids: &[u32]) {
    if pids.is_empty() {
        return;
    }
    // The shell's own `kill`: the program is not everywhere.
    let mut kill = command("sh");
    kill.args(["-c", r#"kill -s "$@""#, "kill", name]).args(pids.iter().map(ToString::to_string));
    let _gone = kill.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

fn children(parent: u32) -> Vec<u32> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| matches!(stat(*pid), Some((_, of)) if of == parent))
        .collect()
}

/// State and parent of a process.
fn stat(pid: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold anything, parentheses and spaces too.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
