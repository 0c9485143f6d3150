//! What is shipped beside the binary: the chart, the image, compose; and the binary under the restrictions that they put on it.

mod chart;
mod files;
mod process;
mod restricted;

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::packages;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Python with Helm, Kubernetes' schemas and YAML, given arguments and an input; the JSON that it printed.
fn python(arguments: &[&str], input: &str) -> Value {
    let requirements = root().join("tests/suite/shipping/requirements.txt");
    let python = packages::python(&requirements, "shipping");
    let mut child = Command::new(python)
        .arg("-B")
        .args(arguments)
        .current_dir(root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The variables of every setting, as the table of the configuration has them; `_FILE` where a file may be named.
fn variables() -> BTreeSet<String> {
    let mut variables = BTreeSet::new();
    for line in include_str!("../../../service/config/src/layers.rs").lines() {
        let Some((setting, holds)) = line.strip_prefix("    (\"").and_then(|rest| rest.split_once("\", "))
        else {
            continue;
        };
        let variable = format!("CLAVIGER_{}", setting.to_uppercase().replace('.', "__"));
        if holds.starts_with("Password") || holds.starts_with("Secret") {
            variables.insert(format!("{variable}_FILE"));
        }
        variables.insert(variable);
    }
    assert!(variables.len() > 50 && variables.contains("CLAVIGER_SEAL__MASTER_KEY_FILE"), "{variables:?}");
    variables
}
