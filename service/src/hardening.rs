//! Keeping memory out of files: no core dumps, no ptrace by others, no swap.

use std::fs;

use rustix::{
    mm::{MlockAllFlags, mlockall},
    process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit},
};

/// `CAP_IPC_LOCK`, as a bit of the capabilities of a process.
const MAY_LOCK: u64 = 1 << 14;

/// Turns core dumps off; a failure is logged, since the service still does its work.
pub fn harden() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "core dumps could not be limited");
    }
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "the process could not be made undumpable");
    }
}

/// Keeps all memory out of swap, key material and what libraries make of it, where the process may lock as much as it comes to use. Under a limit
/// it is not tried: what is locked would fit today, and an allocation fail tomorrow.
pub fn lock_memory() {
    let is_limited = getrlimit(Resource::Memlock).current.is_some();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if is_limited && !has_capability(&status) {
        tracing::info!("memory is not locked: the limit of locked memory (RLIMIT_MEMLOCK) is not unlimited");
        return;
    }
    // What is never touched takes no room.
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    match mlockall(flags) {
        Ok(()) => tracing::debug!("memory is locked"),
        Err(error) => tracing::info!(%error, "memory is not locked"),
    }
}

/// The process may lock memory whatever its limit, by its `/proc/<pid>/status`.
#[must_use]
pub fn has_capability(status: &str) -> bool {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).is_some_and(|set| set & MAY_LOCK != 0)
}

/// The process may lock as much memory as it likes, by its `/proc/<pid>/limits`.
#[must_use]
pub fn is_unlimited(limits: &str) -> bool {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"));
    line.is_some_and(|line| line.trim_start().starts_with("unlimited"))
}

/// Lets this process have as many files and connections as it may have, and answers how many that are.
pub fn open_files() -> u64 {
    let given = getrlimit(Resource::Nofile);
    let Some(most) = given.maximum else { return given.current.unwrap_or(u64::MAX) };
    match setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: Some(most) }) {
        Ok(()) => most,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files could not be raised");
            given.current.unwrap_or(most)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_of_locking_is_read() {
        assert!(has_capability("Name:\tx\nCapEff:\t000001ffffffffff\n"));
        assert!(has_capability("CapEff:\t0000000000004000\n"));
        assert!(!has_capability("CapEff:\t0000000000000000\nCapBnd:\t000001ffffffffff\n"));
        assert!(!has_capability(""));
        assert!(is_unlimited(
            "Max locked memory         unlimited            unlimited            bytes     \n"
        ));
        assert!(!is_unlimited(
            "Max locked memory         8388608              unlimited            bytes     \n"
        ));
        assert!(!is_unlimited(""));
    }
}
