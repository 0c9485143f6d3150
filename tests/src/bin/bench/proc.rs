//! What the kernel knows about a process.

use std::fs;

/// Ticks of processor time in a second: fixed in the interface of Linux (`USER_HZ`).
const TICKS: f64 = 100.0;

/// Seconds of processor time that a process has used, of all its threads.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    // The name before it may hold anything, parentheses and spaces too.
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |index: usize| -> f64 { fields[index].parse().unwrap() };
    (ticks(11) + ticks(12)) / TICKS
}

/// Resident memory in MiB.
pub(crate) fn resident(pid: u32) -> f64 {
    status(pid, "VmRSS:")
}

/// The most that was resident since [`forget_peak`], in MiB.
pub(crate) fn peak(pid: u32) -> f64 {
    status(pid, "VmHWM:")
}

/// Begins a new peak.
pub(crate) fn forget_peak(pid: u32) {
    // 5 resets the high-water mark (proc_pid_clear_refs(5)).
    fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
}

fn status(pid: u32, name: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kib / 1_024.0
}
