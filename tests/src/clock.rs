//! Clocks that go wrong, by libfaketime.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::{Node, process};

/// Starts a node whose wall clock is off by so much.
#[must_use]
pub fn node(offset_seconds: i64, environment: &[(&str, &str)]) -> Node {
    let skew = skewed(offset_seconds);
    let skew = skew.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    Node::with(&environment.iter().copied().chain(skew).collect::<Vec<_>>())
}

/// The environment of a process whose wall clock is off by so much; its monotonic clock goes on as it is.
#[must_use]
pub fn skewed(offset_seconds: i64) -> Vec<(String, String)> {
    sweep();
    let library = library().to_str().unwrap().to_owned();
    let variables = [
        ("LD_PRELOAD", library),
        ("FAKETIME", format!("{offset_seconds:+}s")),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Removes what the library leaves of processes that were killed: the next one with the same id would wait for a lock of theirs.
fn sweep() {
    for file in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
        let name = file.file_name();
        let name = name.to_str().unwrap_or_default();
        let pid = name.strip_prefix("faketime_shm_").or_else(|| name.strip_prefix("sem.faketime_sem_"));
        let ours = file.metadata().is_ok_and(|found| found.uid() == process::user());
        if ours && pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _gone = fs::remove_file(file.path());
        }
    }
}

/// The variant for processes with threads.
fn library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files = folders
        .chain(["/usr/lib".into(), "/usr/local/lib".into()])
        .map(|folder| folder.join("faketime/libfaketimeMT.so.1"));
    files.find(|file| file.is_file()).expect("libfaketime is not installed; run `make tools`")
}
