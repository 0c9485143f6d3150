//! One process of the service.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use claviger_actors::audit::directory;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    Client,
    process::{self, Port},
};

/// Master secret and bootstrap token of test nodes.
pub const MASTER: &str = "test-master-0123456789-abcdefghijklmnop-XYZ";
/// Variable of the harness alone: the node may have so many files and no more.
pub const FILES: &str = "HARNESS_FILES";
/// Bootstrap token of test nodes.
pub const TOKEN: &str = "test-bootstrap-token-7d1b0c44e2";

/// A running node in a folder of its own.
pub struct Node {
    folder: TempDir,
    environment: Vec<(String, String)>,
    child: Child,
    address: String,
    internal: Option<String>,
    /// Held as long as the node may be started again.
    _port: Option<Port>,
}

impl Node {
    /// Starts a node with defaults.
    #[must_use]
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts a node with further environment; an empty value takes a variable of the harness away.
    #[must_use]
    pub fn with(environment: &[(&str, &str)]) -> Self {
        Self::within(tempfile::tempdir().unwrap(), environment)
    }

    /// Starts a node in a folder that may hold a database already.
    #[must_use]
    pub fn within(folder: TempDir, environment: &[(&str, &str)]) -> Self {
        let environment: Vec<(String, String)> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (child, address, internal) = spawn(folder.path(), &environment);
        Self { folder, environment, child, address, internal, _port: None }
    }

    /// Starts a node with further environment on a port that stays its own: it listens there again after a restart.
    #[must_use]
    pub fn settled(environment: &[(&str, &str)]) -> Self {
        let port = Port::free();
        let listen = format!("127.0.0.1:{}", port.number());
        let mut all = environment.to_vec();
        all.push(("CLAVIGER_SERVER__LISTEN", &listen));
        let mut node = Self::with(&all);
        node._port = Some(port);
        node
    }

    /// A client with the administrator's token.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(format!("http://{}", self.address), Some(TOKEN.to_owned()))
    }

    /// A client without credential on the internal listener, which the environment must have asked for.
    #[must_use]
    pub fn internal(&self) -> Client {
        let address = self.internal.as_ref().expect("a node with an internal listener");
        Client::new(format!("http://{address}"), None)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The node's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The database file.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.folder.path().join("data/claviger.db")
    }

    /// Everything it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }

    /// Every line of the audit log, oldest first.
    #[must_use]
    pub fn records(&self) -> Vec<Value> {
        records(&self.folder().join("data/audit"))
    }

    /// SIGKILL, and wait for the end.
    pub fn kill9(&mut self) {
        let _gone = self.child.kill();
        self.child.wait().unwrap();
    }

    /// SIGSTOP: it holds its connections, and answers nothing.
    pub fn stop(&self) {
        process::stop(&[self.pid()]);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        process::signal("CONT", &[self.pid()]);
    }

    /// Resident memory, in KiB.
    #[must_use]
    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse().unwrap()
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM, and wait for the end.
    #[must_use]
    pub fn terminate(&mut self) -> ExitStatus {
        let sent = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status().unwrap();
        assert!(sent.success());
        self.child.wait().unwrap()
    }

    /// Starts it again in the same folder.
    pub fn restart(&mut self) {
        self.kill9();
        (self.child, self.address, self.internal) = spawn(self.folder.path(), &self.environment);
    }

    /// Changes a variable for the next start.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Ends the process and keeps its folder.
    #[must_use]
    pub fn into_folder(mut self) -> TempDir {
        self.kill9();
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// The command as a node would be started; whatever the shell has set stays out.
#[must_use]
pub fn command(folder: &Path) -> Command {
    let mut command = Command::new(binary());
    command
        .arg("serve")
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// The same, with a limit of open files if there is to be one.
fn started_by(folder: &Path, files: Option<&str>) -> Command {
    let plain = command(folder);
    let Some(files) = files else { return plain };
    let mut limited = Command::new("prlimit");
    limited.arg(format!("--nofile={files}:{files}")).arg(plain.get_program()).args(plain.get_args());
    limited.current_dir(folder).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    limited
}

/// Runs a node that is expected not to start: exit code and what it wrote on stderr.
#[must_use]
pub fn refused_start(folder: &Path, environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut child = command(folder)
        .env("CLAVIGER_SERVER__LISTEN", "127.0.0.1:0")
        .envs(environment.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that starts after all says so, and would go on for ever.
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        if line.unwrap().contains("\"listening\"") {
            child.kill().unwrap();
        }
    }
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[expect(
    clippy::zombie_processes,
    reason = "the node owns the child and waits for it; a node that did not start has ended"
)]
fn spawn(folder: &Path, environment: &[(String, String)]) -> (Child, String, Option<String>) {
    let log = File::options().append(true).create(true).open(folder.join("stderr")).unwrap();
    let files = environment.iter().find(|(name, _)| name == FILES);
    let mut command = started_by(folder, files.map(|(_, files)| files.as_str()));
    command
        .env("CLAVIGER_SERVER__LISTEN", "127.0.0.1:0")
        .env("CLAVIGER_SEAL__MASTER_KEY", MASTER)
        .env("CLAVIGER_BOOTSTRAP_TOKEN", TOKEN)
        // Suites send many wrong credentials from one address; those of the limiter set it.
        .env("CLAVIGER_AUTH__FAILED_ATTEMPTS", "0")
        .env("CLAVIGER_LIMITS__FAILURES", "none")
        .env("CLAVIGER_LIMITS__GRANTS", "none")
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::piped())
        .stderr(log);
    for (name, _) in environment.iter().filter(|(_, value)| value.is_empty()) {
        command.env_remove(name);
    }
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{} can't be started ({error}); build it first", binary().display()));
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let is_internal = environment.iter().any(|(name, _)| name == "CLAVIGER_SERVER__INTERNAL_LISTEN");
    let (mut line, mut public) = (String::new(), None);
    loop {
        line.clear();
        if output.read_line(&mut line).unwrap() == 0 {
            let log = fs::read_to_string(folder.join("stderr")).unwrap_or_default();
            panic!("the node ended before it listened: {log}");
        }
        let event: Value = serde_json::from_str(&line).unwrap();
        if event["event"] == "listening" {
            let address = event["address"].as_str().unwrap().to_owned();
            match (is_internal, public.take()) {
                (false, _) => return (child, address, None),
                (true, Some(public)) => return (child, public, Some(address)),
                (true, None) => public = Some(address),
            }
        }
    }
}

/// `CLAVIGER_BIN`, or the binary of the profile that the tests were built with.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("CLAVIGER_BIN") {
        return path.into();
    }
    let here = std::env::current_exe().unwrap();
    let profile = here.ancestors().find(|folder| folder.join("claviger").is_file());
    profile.expect("no claviger binary beside the tests; run cargo build first").join("claviger")
}

/// Every line of an audit log, oldest first.
#[must_use]
pub fn records(folder: &Path) -> Vec<Value> {
    let read = || -> std::io::Result<Vec<Value>> {
        let contents = directory::list(folder)?;
        let mut records = Vec::new();
        for file in contents.closed.into_iter().map(|closed| closed.path).chain(contents.current) {
            for line in directory::read(&file)?.lines() {
                // The last one may be under way.
                records.extend(serde_json::from_str::<Value>(&line?).ok());
            }
        }
        Ok(records)
    };
    // A segment may be closed or compressed while it is looked for.
    process::until(process::PATIENCE, || read().ok()).unwrap()
}
