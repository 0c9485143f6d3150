//! The process, as every client library of Prometheus describes it. What the system does not tell is left out.

use std::fs;

use super::page::Page;

/// Fields of `/proc/self/stat`, counted from the one after the name.
const UTIME: usize = 11;
const STIME: usize = 12;
const START: usize = 19;
const VIRTUAL: usize = 20;
const RESIDENT: usize = 21;

pub(super) fn write(page: &mut Page) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name may hold anything, spaces and parentheses too.
    let fields: Vec<f64> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().map(|field| field.parse().unwrap_or(0.0)).collect())
        .unwrap_or_default();
    let field = |at: usize| fields.get(at).copied();
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    if let (Some(user), Some(system)) = (field(UTIME), field(STIME)) {
        page.counter(
            "process_cpu_seconds_total",
            "Time on processors, user and system.",
            (user + system) / ticks,
        );
    }
    if let (Some(start), Some(boot)) = (field(START), booted_at()) {
        page.gauge(
            "process_start_time_seconds",
            "Start of the process since the epoch.",
            boot + start / ticks,
        );
    }
    if let Some(bytes) = field(VIRTUAL) {
        page.gauge("process_virtual_memory_bytes", "Virtual memory.", bytes);
    }
    if let Some(pages) = field(RESIDENT) {
        let bytes = pages * rustix::param::page_size() as f64;
        page.gauge("process_resident_memory_bytes", "Resident memory.", bytes);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        page.gauge("process_open_fds", "Open file descriptors.", open.count() as f64);
    }
    if let Some(most) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        page.gauge("process_max_fds", "Open file descriptors at most.", most as f64);
    }
}

/// Start of the machine since the epoch, in seconds.
fn booted_at() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}
