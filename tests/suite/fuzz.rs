//! Parsers under libFuzzer: what each must hold, and what one execution may cost, stands in tests/fuzz.
//!
//! A run begins with the checked-in corpus and a fixed seed, so that it finds today what it found yesterday. What it learns stays in the
//! target folder. `make fuzz` is for going on without end.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use claviger_tests::volume;

/// Executions of each target.
const RUNS: usize = 1_000_000;
/// The same of frames: each is several sessions of up to 128 frames.
const SESSIONS: usize = 200_000;
/// Longest input: as long as the longest token.
const MAX_LEN: usize = 64 << 10;
/// Longest policy: each word is judged for some eighty kinds of request, so long ones would leave time for few.
const POLICY_MAX_LEN: usize = 1 << 10;
/// Memory of the whole process; an execution's own bound is lower.
const RSS_LIMIT_MB: usize = 512;
/// Wall time after which an execution hangs; its bound on CPU time is judged when it ends.
const TIMEOUT_SECONDS: usize = 60;

macro_rules! targets {
    ($($name:ident),+) => {
        const TARGETS: &[&str] = &[$(stringify!($name)),+];
        $(#[test]
        fn $name() {
            run(stringify!($name));
        })+
    };
}

targets!(ciphertext, config, fernet, foreign, frames, import, json, jwe, jws, policy);

#[test]
fn every_target_is_run() {
    let mut files: Vec<_> = std::fs::read_dir(home().join("fuzz_targets"))
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|file| file != "bounds")
        .collect();
    files.sort();
    assert_eq!(files, TARGETS);
}

/// A bound that is broken must be seen here, as any crash must.
#[test]
fn bounds() {
    for (input, expected) in [("idle", None), ("slow", Some("of CPU time")), ("greedy", Some("bytes; "))] {
        let (succeeded, said) = output(cargo_fuzz("bounds").arg(corpus("bounds").join(input)));
        assert_eq!(succeeded, expected.is_none(), "{input}: {}", tail(&said));
        assert!(expected.is_none_or(|expected| said.contains(expected)), "{input}: {}", tail(&said));
    }
}

fn run(target: &str) {
    let learnt = build().join("learnt").join(target);
    let _ = std::fs::remove_dir_all(&learnt);
    std::fs::create_dir_all(&learnt).unwrap();
    let runs = volume(if target == "frames" { SESSIONS } else { RUNS });
    let max_len = if target == "policy" { POLICY_MAX_LEN } else { MAX_LEN };
    let mut command = cargo_fuzz(target);
    command.arg(&learnt).arg(corpus(target)).args(["--", "-seed=1", "-len_control=0"]);
    command.arg(format!("-runs={runs}")).arg(format!("-max_len={max_len}"));
    command.arg(format!("-rss_limit_mb={RSS_LIMIT_MB}")).arg(format!("-timeout={TIMEOUT_SECONDS}"));
    let dictionary = home().join("dictionaries").join(format!("{target}.dict"));
    if dictionary.exists() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    let (succeeded, said) = output(&mut command);
    assert!(succeeded && said.contains(&format!("Done {runs} runs")), "{target} failed:\n{}", tail(&said));
}

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn corpus(target: &str) -> PathBuf {
    home().join("corpus").join(target)
}

/// Beside the other profiles, so that it is cached with them.
fn build() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("fuzz")
}

fn cargo_fuzz(target: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Optimised across crates, or each crate as one unit, a target would take longer to build than to fuzz.
    command.env("CARGO_PROFILE_RELEASE_LTO", "off");
    // Of a release, which is another build.
    command.env_remove("RUSTFLAGS");
    command
        .env("RUST_BACKTRACE", "0")
        .args(["fuzz", "run", "-s", "none", "--codegen-units", "16", "--fuzz-dir"])
        .arg(home());
    command.arg("--target-dir").arg(build()).arg(target);
    command
}

/// Whether it succeeded, and what it said.
fn output(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} can't be run: {error}"));
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(!said.contains("no such command"), "cargo-fuzz is missing; make tools installs it\n{said}");
    (output.status.success(), said)
}

/// The end of what libFuzzer said, which names the input that it kept.
fn tail(said: &str) -> String {
    let lines: Vec<_> = said.lines().filter(|line| !line.starts_with('#')).collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}
