//! What the kernel knows about a process, and lets it have.

use std::fs;

use rustix::process::{Resource, getrlimit, setrlimit};

/// Ticks of processor time in a second: fixed in the interface of Linux (`USER_HZ`).
const TICKS: f64 = 100.0;

/// Seconds of processor time that a process has used, of all its threads.
#[must_use]
pub fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    // The name before it may hold anything, parentheses and spaces too.
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |index: usize| -> f64 { fields[index].parse().unwrap() };
    (ticks(11) + ticks(12)) / TICKS
}

/// Resident memory in MiB.
#[must_use]
pub fn resident(pid: u32) -> f64 {
    status(pid, "VmRSS:")
}

/// The most that was resident since [`forget_peak`], in MiB.
#[must_use]
pub fn peak(pid: u32) -> f64 {
    status(pid, "VmHWM:")
}

/// Begins a new peak.
pub fn forget_peak(pid: u32) {
    // 5 resets the high-water mark (proc_pid_clear_refs(5)).
    fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
}

/// Lets this process, and those that it starts from now on, have as many files open as it may have at most.
pub fn many_files() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, rustix::process::Rlimit { current: limit.maximum, ..limit }).unwrap();
}

fn status(pid: u32, name: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kib / 1_024.0
}
