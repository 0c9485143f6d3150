//! Python and Node with the packages of a test, at the versions that stand beside it; made once, in the target folder.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use claviger_tests::node;

/// The interpreter of an environment of this name that holds these requirements.
pub(crate) fn python(requirements: &Path, name: &str) -> PathBuf {
    let home = node::binary().parent().unwrap().join("python").join(name);
    let python = home.join("bin/python");
    once(&home, &python, &fs::read(requirements).unwrap(), || {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home));
        run(Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(requirements));
    });
    python
}

/// A folder with these files of another one and what their lock file names.
pub(crate) fn npm(from: &Path, name: &str, script: &str) -> PathBuf {
    let home = node::binary().parent().unwrap().join("interop").join(name);
    let files =
        ["package.json", "package-lock.json", script].map(|file| (file, fs::read(from.join(file)).unwrap()));
    let wanted = files.iter().flat_map(|(_, text)| text.iter().copied()).collect::<Vec<u8>>();
    once(&home, &home.join("node_modules"), &wanted, || {
        fs::create_dir_all(&home).unwrap();
        for (file, text) in &files {
            fs::write(home.join(file), text).unwrap();
        }
        run(Command::new("npm").args(["ci", "--silent", "--no-audit", "--no-fund"]).current_dir(&home));
    });
    home
}

/// Makes a folder unless it was made of the same before. Tests are processes of their own, and several want it at the same time.
fn once(home: &Path, proof: &Path, wanted: &[u8], make: impl FnOnce()) {
    fs::create_dir_all(home.parent().unwrap()).unwrap();
    let lock = File::create(home.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    let made = home.with_extension("made");
    if proof.exists() && fs::read(&made).is_ok_and(|made| made == wanted) {
        return;
    }
    make();
    fs::write(&made, wanted).unwrap();
}

/// What it printed; a command that fails, or is not there, fails the test with what it said.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} can't be run: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {out}{err}");
    out.into_owned()
}
