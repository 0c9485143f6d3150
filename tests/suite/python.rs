//! Python with the packages of a test, at the versions that stand beside it; made once, in the target folder.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use claviger_tests::node;

/// The interpreter of an environment of this name that holds these requirements.
pub(crate) fn with(requirements: &Path, name: &str) -> PathBuf {
    let home = node::binary().parent().unwrap().join("python").join(name);
    let python = home.join("bin/python");
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&home));
    }
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
        .arg(requirements));
    python
}

/// What it printed; a command that fails, or is not there, fails the test with what it said.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} can't be run: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {out}{err}");
    out.into_owned()
}
