//! Independent implementations as judges. They are installed from their registries at the versions that stand beside them, once, into the
//! target folder.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use claviger_tests::{Node, node};

use crate::packages::{self, run};

#[test]
fn pyjwt_joserfc_and_cryptography_agree() {
    let folder = interop("python");
    let python = packages::python(&folder.join("requirements.txt"), "interop");
    judge(Command::new(&python).arg(folder.join("interop.py")));
}

#[test]
fn npm_jose_agrees() {
    let folder = interop("node");
    let home = packages::npm(&folder, "node", "interop.mjs");
    judge(Command::new("node").arg("interop.mjs").current_dir(&home));
}

fn interop(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("interop").join(name)
}

fn judge(command: &mut Command) {
    let node = Node::start();
    let url = format!("http://{}", node.address());
    let output = run(command.env("URL", url).env("TOKEN", node::TOKEN));
    assert!(output.ends_with("agreed\n"), "{output}");
}
