//! A real OpenID provider (npm `oidc-provider`), installed once at the versions that stand beside it.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use crate::packages;

/// A provider that does as one of the scripts beside it says, a line at a time.
pub(crate) struct Peer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    issuer: String,
}

impl Peer {
    /// Starts one.
    pub(crate) fn start(script: &str) -> Self {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/issuer");
        let home = packages::npm(&from, &script.replace(".mjs", ""), script);
        let mut command = Command::new("node");
        command.arg(script).current_dir(&home).stdin(Stdio::piped()).stdout(Stdio::piped());
        // It warns of each thing that is for development.
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut peer = Self { child, input, output: BufReader::new(output), issuer: String::new() };
        peer.issuer = peer.line();
        assert!(peer.issuer.starts_with("http://127.0.0.1:"), "{}", peer.issuer);
        peer
    }

    /// Its name, and where it is.
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Its answer to a line.
    pub(crate) fn ask(&mut self, line: &str) -> String {
        writeln!(self.input, "{line}").unwrap();
        self.line()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
