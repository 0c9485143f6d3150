//! The command line, run as its users run it.

mod access;
mod audit;
mod audit_client;
mod connection;
mod doctor;
mod keys;
mod local;
mod old_masters;
mod secrets;
mod tokens;

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use claviger_tests::{Node, node};
use serde_json::Value;

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) output: Vec<u8>,
    pub(crate) error: String,
}

impl Ran {
    /// JSON on standard output, of a command that must have succeeded.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        assert_eq!((self.code, self.error.as_str()), (Some(0), ""));
        serde_json::from_slice(&self.output).unwrap()
    }

    /// The one line of a command that must have failed, which must not have printed anything else.
    #[track_caller]
    pub(crate) fn refused(self, line: &str) -> String {
        assert_eq!(self.code, Some(1), "{}", self.error);
        assert!(self.error.starts_with(&format!("claviger: {line}")), "{}", self.error);
        assert_eq!((self.error.lines().count(), self.output.len()), (1, 0), "{}", self.error);
        self.error
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.output).unwrap()
    }
}

/// Runs the command in a folder, with an environment of its own.
pub(crate) fn run(folder: &Path, arguments: &[&str], input: &[u8], environment: &[(&str, &str)]) -> Ran {
    let mut child = Command::new(node::binary())
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads nothing may be gone by now.
    let _gone = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code(),
        output: output.stdout,
        error: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs a client command against a node; words are split at blanks.
fn on(node: &Node, line: &str, input: &[u8]) -> Ran {
    let arguments: Vec<&str> = line.split(' ').collect();
    let url = format!("http://{}", node.address());
    run(node.folder(), &arguments, input, &[("CLAVIGER_URL", &url), ("CLAVIGER_TOKEN", node::TOKEN)])
}
