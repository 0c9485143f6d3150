//! Independent implementations as judges. They are installed from their registries at the versions that stand beside them, once, into the
//! target folder.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use claviger_tests::{Node, node};

use crate::python::{self, run};

#[test]
fn pyjwt_joserfc_and_cryptography_agree() {
    let folder = interop("python");
    let python = python::with(&folder.join("requirements.txt"), "interop");
    judge(Command::new(&python).arg(folder.join("interop.py")));
}

#[test]
fn npm_jose_agrees() {
    let folder = interop("node");
    let home = home("node");
    std::fs::create_dir_all(&home).unwrap();
    for file in ["package.json", "package-lock.json", "interop.mjs"] {
        std::fs::copy(folder.join(file), home.join(file)).unwrap();
    }
    run(Command::new("npm").args(["ci", "--silent", "--no-audit", "--no-fund"]).current_dir(&home));
    judge(Command::new("node").arg("interop.mjs").current_dir(&home));
}

fn interop(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("interop").join(name)
}

fn home(name: &str) -> PathBuf {
    node::binary().parent().unwrap().join("interop").join(name)
}

fn judge(command: &mut Command) {
    let node = Node::start();
    let url = format!("http://{}", node.address());
    let output = run(command.env("URL", url).env("TOKEN", node::TOKEN));
    assert!(output.ends_with("agreed\n"), "{output}");
}
