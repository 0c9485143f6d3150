//! What figures depend on: the machine, the day, the versions.

use std::{fs, path::Path, process::Command, time::SystemTime};

use chrono::{DateTime, Utc};
use claviger_tests::OpenBao;

use crate::{rounds::Programs, settings::Settings};

/// A list for the top of a page. To be made before anything is measured, since it tells whether the machine was quiet.
pub(crate) fn described(settings: &Settings, programs: &Programs) -> String {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let line = |text: &str, name: &str| {
        let found = text.lines().find(|line| line.starts_with(name)).and_then(|line| line.split(':').nth(1));
        found.unwrap_or("unknown").trim().to_owned()
    };
    let (cpu, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let kib: u64 = line(&memory, "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0);
    let lines = [
        format!("- machine: {cores} cores, {}, {} GiB", line(&cpu, "model name"), kib >> 20),
        format!("- kernel: Linux {}", read("/proc/sys/kernel/osrelease").trim()),
        format!("- load before: {}", read("/proc/loadavg").split(' ').next().unwrap_or("unknown")),
        format!("- day: {}", today()),
        format!("- Claviger: {}, commit {}", told(&programs.claviger, &["--version"]), commit()),
        format!("- compiler: {}", told(Path::new("rustc"), &["--version"])),
        format!("- OpenBao: {}", programs.peer.as_deref().map_or("none".to_owned(), OpenBao::version)),
        // wrk tells its version only together with how it is used, and fails.
        format!("- generator: {}", told(Path::new("wrk"), &["-v"])),
        format!(
            "- rounds: {}, {} s a measurement, {} workers",
            settings.rounds, settings.seconds, settings.workers
        ),
    ];
    lines.join("\n")
}

/// The tree that was built, as far as it is known.
fn commit() -> String {
    told(Path::new("git"), &["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"])
}

/// The first line that a command prints.
fn told(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").trim().to_owned()
}

#[expect(clippy::disallowed_methods, reason = "a page says on which day it was made")]
fn today() -> String {
    DateTime::<Utc>::from(SystemTime::now()).format("%Y-%m-%d").to_string()
}
