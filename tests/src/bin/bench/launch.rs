//! Servers of ours: started, and ended with the measurement.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use claviger_tests::node::{MASTER, TOKEN};
use serde_json::Value;

/// A process that has said where it listens.
pub(crate) struct Launched {
    child: Child,
    pub(crate) address: String,
}

/// A program that sees nothing of the shell's environment.
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs([
        ("CLAVIGER_SERVER__LISTEN", "127.0.0.1:0"),
        ("CLAVIGER_SEAL__MASTER_KEY", MASTER),
        ("CLAVIGER_BOOTSTRAP_TOKEN", TOKEN),
    ]);
    command
}

impl Launched {
    /// Starts a command in a folder, which keeps its log.
    pub(crate) fn start(command: &mut Command, folder: &Path) -> Self {
        let log = folder.join("stderr");
        command.current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = command.stderr(File::create(&log).unwrap()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?} can't be run: {error}"));
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut events = output.lines().map_while(Result::ok).map(|line| serde_json::from_str(&line));
        let listening =
            events.find_map(|event| event.ok().filter(|event: &Value| event["event"] == "listening"));
        let Some(event) = listening else {
            panic!("it ended before it listened: {}", fs::read_to_string(&log).unwrap_or_default());
        };
        Self { child, address: event["address"].as_str().unwrap().to_owned() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it in order.
    pub(crate) fn end(mut self) {
        let sent = Command::new("kill").arg("-TERM").arg(self.pid().to_string()).status();
        assert!(sent.unwrap().success(), "it is gone already");
        assert!(self.child.wait().unwrap().success(), "it did not end in order");
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// The bare handlers, built beside this command.
pub(crate) fn ceiling() -> PathBuf {
    std::env::current_exe().unwrap().with_file_name("ceiling")
}

/// Claviger without its audit log, if it was built, and no earlier than Claviger itself.
pub(crate) fn unaudited(claviger: &Path) -> Option<PathBuf> {
    let built = claviger.parent()?.parent()?.join("unaudited/release/claviger");
    let changed = |file: &Path| fs::metadata(file).and_then(|file| file.modified()).ok();
    (changed(&built)? >= changed(claviger)?).then_some(built)
}
